//! Opens a connection by a handshake.

use std::io;
use std::path::Path;

use super::established::Established;
use crate::handshake::{self, ConnectError, Kind, ListenError, Offer, Role};
use crate::options::Options;
use crate::ring::{Geometry, Use};

/// Listens at `path` for one peer. `capacities` are in bytes: of one ring for a bus, of the forward and the reverse
/// ring for RPC.
///
/// # Errors
/// [`ListenError`]: a capacity that is not a power of two, an unusable path, or too little memory.
pub(crate) fn listen(
    path: &Path,
    kind: Kind,
    role: Role,
    capacities: &[usize],
    options: &Options,
) -> Result<Established, ListenError> {
    let carries = if kind == Kind::Bus { Use::Bus } else { Use::Calls };
    let geometries = capacities.iter().map(|capacity| Geometry::new(*capacity, carries)).collect::<Result<_, _>>()?;
    Ok(Established::new(handshake::listen(path, &Offer { kind, role, geometries }, options)?, options))
}

/// Both ends of an RPC connection within this process: the callee's, then the caller's. Each ring has `capacity` bytes.
///
/// # Errors
/// The system has no memory or no descriptors for the connection.
pub(crate) fn in_process(capacity: usize) -> io::Result<[Established; 2]> {
    let geometry = Geometry::new(capacity, Use::Calls).map_err(io::Error::other)?;
    let pairings = handshake::in_process(Kind::Rpc, &[geometry; 2])?;
    Ok(pairings.map(|pairing| Established::new(pairing, &Options::new())))
}

/// Connects to the listener at `path`.
///
/// # Errors
/// [`ConnectError`]: no process listens, or the listener is of another kind, version or user.
pub(crate) fn connect(path: &Path, kind: Kind, role: Role, options: &Options) -> Result<Established, ConnectError> {
    Ok(Established::new(handshake::connect(path, kind, role, options)?, options))
}
