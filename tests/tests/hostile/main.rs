//! Hostile peers on the socket of a connection, in their own processes: no operation of this side waits for them.
//! Tested where the kernel refuses their descriptors, and where each message is peeked first, as before Linux 6.16.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod descriptors;
mod place;
mod sockets;
