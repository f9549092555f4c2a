//! Peers that are hostile on the socket of a connection, in processes of their own: nothing of ours waits for them, where
//! the system refuses their descriptors, and where each message is looked at first, as before Linux 6.16.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod descriptors;
mod place;
mod sockets;
