//! The example `websocket`: its protocol through the test kit, and the program with real clients.

#[path = "../../examples/websocket/chat.rs"]
mod chat;
#[path = "../../examples/websocket/frame.rs"]
mod frame;
#[path = "../../examples/websocket/handshake.rs"]
mod handshake;

mod browser;
mod cases;
mod clients;
mod closing;
mod codes;
mod random;
mod requests;
mod splits;
mod support;
mod text;
