//! Applications: what a user's job may run at this site, and the script that it becomes.
