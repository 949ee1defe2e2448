//! What a message and a connection cost. Costs of messages are differences between a run of 2 N
//! messages and one of N, so what starting, accepting and ending cost falls out. These counts do
//! not depend on how fast the machine is; each test prints what it found.

mod allocations;
mod instructions;
mod load;
mod memory;
mod splicing;
mod system_calls;
