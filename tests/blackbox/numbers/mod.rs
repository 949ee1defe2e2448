//! The costs of a message and of a connection. The cost of messages is the difference between a run of 2 N
//! messages and one of N, so the costs of starting, accepting and ending cancel out. These counts do not
//! depend on how fast the machine is; each test prints the counts that it found.

mod allocations;
mod instructions;
mod load;
mod memory;
mod splicing;
mod system_calls;
