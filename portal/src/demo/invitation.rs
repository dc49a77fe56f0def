//! The addresses of the pages, and the command that reaches them from another machine.

use std::env;

use crate::demo::screen::Screen;

/// The three addresses.
pub(super) struct Invitation<'a> {
    /// UCloud's page.
    pub(super) ucloud: &'a str,
    /// The computing centre.
    pub(super) centre: &'a str,
    /// Its terminal and its log.
    pub(super) desk: &'a str,
}

impl Invitation<'_> {
    /// Prints the invitation.
    pub(super) fn show(&self, screen: &Screen) {
        let Self { ucloud, centre, desk } = self;
        screen.title("Try it yourself. Ctrl-C ends the demo and leaves nothing behind");
        screen.verdict(true, &format!("  Open {ucloud} in a browser on this machine."));
        screen.note(&format!("That is UCloud's page. The computing centre is at {centre}, its terminal at {desk}."));
        let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some());
        if !has_display {
            screen.note("This machine has no display. On yours, run this first, then open the same address there:");
            screen.line(&format!("  {}", self.tunnel(&machine())));
        }
    }

    /// The command that forwards the pages to another machine at the same addresses, because keys
    /// belong to an origin.
    fn tunnel(&self, machine: &str) -> String {
        let ports = [self.ucloud, self.centre, self.desk].map(|origin| origin.rsplit(':').next().unwrap_or_default());
        let forwards = ports.map(|port| format!("-L {port}:127.0.0.1:{port}"));
        format!("ssh {} {machine}", forwards.join(" "))
    }
}

/// This machine by the address of the SSH session, or by its name.
fn machine() -> String {
    let of_session = env::var("SSH_CONNECTION").ok().and_then(|line| line.split(' ').nth(2).map(str::to_owned));
    let by_name = || nix::unistd::gethostname().ok()?.into_string().ok();
    let machine = of_session.or_else(by_name).unwrap_or_else(|| "THIS-MACHINE".to_owned());
    match env::var("SUDO_USER").or_else(|_| env::var("USER")) {
        Ok(user) => format!("{user}@{machine}"),
        Err(_) => machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n05_a_tunnel_has_all_three_ports_under_their_own_numbers() {
        let invitation = Invitation {
            ucloud: "http://127.0.0.1:8801",
            centre: "http://localhost:8802",
            desk: "http://127.0.0.1:8803",
        };
        let want = "ssh -L 8801:127.0.0.1:8801 -L 8802:127.0.0.1:8802 -L 8803:127.0.0.1:8803 me@host";
        assert_eq!(invitation.tunnel("me@host"), want);
    }
}
