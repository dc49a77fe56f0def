//! Exhaustive models of replay and enrolment (P2, P4). They try every order of steps of Core, the
//! user and the clock, up to a bound, on the code that gateway and server run. A model defines only
//! the possible steps and the forbidden states.

mod enrolment;
mod replay;
