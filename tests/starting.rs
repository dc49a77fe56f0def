//! Tests of attacks by a user's own programs on the user's instance while it starts (V71, V72).
//! None gets its descriptors, traces it or speaks for it.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::test_site::{Part, Person, TestSite, said};
use nix::sys::signal::{Signal, kill};

/// Starts of the instance under attack. While it could be traced from `execve` to
/// `PR_SET_DUMPABLE`, one start was enough.
const STARTS: usize = 25;

/// Tries without pause to take descriptors 0 to 2 of every new process, to trace it and to open its
/// memory. Reports what it got of an instance, and how often it was refused. ARGV: a file that ends
/// it.
const GRABBER: &str = r#"
use strict; use warnings; use Errno qw(EPERM EACCES);
my ($until) = @ARGV;
my ($pidfd_open, $pidfd_getfd) = (434, 438);
my $ptrace = (`uname -m` =~ /aarch64/) ? 117 : 101;
my %denied; my %got;
sub instance { open(my $f, '<', "/proc/$_[0]/cmdline") or return 0; local $/; my $c = <$f> // ''; $c =~ m{^/usr/bin/countersign\0user\0} }
$| = 1; print "ready\n";
for (my $turn = 0; $turn % 64 || !-e $until; $turn++) {
    open(my $l, '<', '/proc/loadavg') or die; my $newest = (split ' ', <$l>)[4]; close $l;
    for my $pid ($newest - 6 .. $newest + 6) {
        next if $pid < 2 || $pid == $$;
        my $pidfd = syscall($pidfd_open, $pid, 0);
        next if $pidfd < 0;
        for my $wanted (0 .. 2) {
            my $fd = syscall($pidfd_getfd, $pidfd, $wanted, 0);
            if ($fd >= 0) { $got{$pid} .= " descriptor $wanted: " . readlink("/proc/self/fd/$fd") if instance($pid); POSIX::close($fd) }
            elsif ($! == EPERM && $wanted == 0) { $denied{$pid}++ if instance($pid) }
        }
        if (syscall($ptrace, 0x4206, $pid, 0, 0) == 0) { $got{$pid} .= ' traced' if instance($pid); kill 'CONT', $pid; syscall($ptrace, 17, $pid, 0, 0) }
        if (open(my $m, '+<', "/proc/$pid/mem")) { $got{$pid} .= ' memory' if instance($pid) }
        POSIX::close($pidfd);
    }
}
print "got of $_:$got{$_}\n" for sort keys %got;
print "denied: ", scalar(keys %denied), " instances\n";
"#;

/// Stops the first instance that it sees, and reports readiness in its place. ARGV: the server's
/// socket, a file for the instance's process id.
const IMPOSTOR: &str = r#"
use strict; use warnings; use IO::Socket::UNIX;
my ($socket, $stopped) = @ARGV;
$| = 1; print "ready\n";
my $pid;
until ($pid) {
    for my $process (glob '/proc/[0-9]*') {
        open(my $f, '<', "$process/cmdline") or next; local $/; my $c = <$f> // '';
        next unless $c =~ m{^/usr/bin/countersign\0user\0};
        my ($number) = $process =~ /(\d+)/;
        if (kill 'STOP', $number) { $pid = $number; last }
    }
}
for my $path ('/instance/ready', '/instance/watch') {
    my $server = IO::Socket::UNIX->new(Peer => $socket) or die "no server";
    print $server "POST $path HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    print "$path ", scalar(<$server>);
}
open(my $f, '>', $stopped) or die; print $f $pid; close $f;
"#;

/// A program of alice's that runs until it ends by itself.
struct OfAlices {
    child: Child,
    place: PathBuf,
}

impl OfAlices {
    fn run(script: &str, arguments: &[&Path]) -> Self {
        let place = std::env::temp_dir().join(format!("alices-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        let program = place.join("program.pl");
        fs::write(&program, format!("use POSIX ();{script}")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "alice", "--regid", "alice", "--init-groups", "--", "/usr/bin/perl"]).arg(program);
        command
            .args(arguments)
            .current_dir(&place)
            .stdin(Stdio::null())
            .stdout(fs::File::create(place.join("said")).unwrap());
        let child = command.spawn().unwrap();
        Self { child, place }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.place.join("said")).unwrap()
    }

    fn until_its_end(&mut self) -> String {
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
        self.said()
    }
}

impl Drop for OfAlices {
    fn drop(&mut self) {
        let _ended = self.child.kill();
    }
}

/// Ends the instance, as its user may, so that the next request starts another.
async fn end_instance(centre: &TestSite, person: &Person) {
    let pid = centre.pid(Part::Instance(person.account)).expect("an instance");
    kill(pid, Signal::SIGTERM).unwrap();
    centre.until("the instance has ended", async || centre.pid(Part::Instance(person.account)).is_none()).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v71_s01_no_program_of_the_users_gets_at_their_starting_instance() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let end = std::env::temp_dir().join("end");
    let mut grabber = OfAlices::run(GRABBER, &[&end]);
    centre.until("the attack has begun", async || grabber.said().contains("ready")).await;
    for start in 0..STARTS {
        if start > 0 {
            end_instance(&centre, &alice).await;
        }
        let answer = centre.browse(&alice, "/home").await;
        assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    }
    fs::write(&end, "").unwrap();
    let said = grabber.until_its_end();
    assert!(!said.contains("got of"), "{said}");
    // The program did try: at more than half of the starts the kernel refused it an instance.
    let denied = said.lines().find_map(|line| line.strip_prefix("denied: ")).unwrap();
    let denied: usize = denied.split(' ').next().unwrap().parse().unwrap();
    assert!(denied * 2 > STARTS, "{said}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v71_s01_a_server_whose_program_users_can_read_does_not_start() {
    let program = Path::new("/usr/bin/countersign");
    assert_eq!(fs::metadata(program).unwrap().permissions().mode() & 0o7777, 0o711);
    let centre = TestSite::furnish("").await;
    for (mode, why) in [(0o755, "chmod 0711"), (0o731, "chmod go-w")] {
        fs::set_permissions(program, fs::Permissions::from_mode(mode)).unwrap();
        let output = centre.run_as("ucloud", &["server"]).await;
        assert_eq!(output.status.code(), Some(5), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
        let checked = centre.run_as("ucloud", &["check-config"]).await;
        assert!(said(&checked).contains(why), "{}", said(&checked));
    }
    fs::set_permissions(program, fs::Permissions::from_mode(0o711)).unwrap();
    centre.opened().await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v72_s01_another_process_of_the_user_cannot_say_that_the_instance_is_ready() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    if centre.pid(Part::Instance("alice")).is_some() {
        end_instance(&centre, &alice).await;
    }
    let stopped = std::env::temp_dir().join("stopped");
    let place = std::env::temp_dir();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut impostor = OfAlices::run(IMPOSTOR, &[&centre.ipc.join("ucloud.sock"), &stopped]);
    centre.until("the attack has begun", async || impostor.said().contains("ready")).await;
    let answer = centre.browse(&alice, "/home").await;
    let said = impostor.until_its_end();
    for path in ["/instance/ready", "/instance/watch"] {
        assert!(said.contains(&format!("{path} HTTP/1.1 404 ")), "{said}");
    }
    // No instance serves: Core learns it, and no request waits for an instance that has not
    // reported itself.
    assert!(!answer.is_ok(), "{answer:?}");
    assert!(matches!(answer.status, 449 | 503), "{answer:?}");
    let pid = fs::read_to_string(&stopped).unwrap().parse().unwrap();
    kill(nix::unistd::Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    centre.until("the instance serves", async || centre.browse(&alice, "/home").await.is_ok()).await;
}

/// Speaks HTTP to a port and prints the result. ARGV: the port.
const CALLER: &str = r#"
use IO::Socket::INET;
my $port = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$ARGV[0]", Timeout => 5) or do { print "refused"; exit };
print "open ";
print $port "POST /ucloud/hpc/files/browse HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}", "x" x 64;
alarm 10; my $heard = q(); 1 while sysread($port, $heard, 4096, length $heard);
print $heard =~ /HTTP/ ? "heard" : "unheard";
"#;

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn s15_no_other_account_is_heard_at_an_instances_port() {
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let centre = TestSite::open_with_gateway("", |centre| {
        let text = fs::read_to_string(&centre.config).unwrap();
        let tcp = format!("launch = \"sudo\"\nlisten = \"tcp\"\nfirst_port = {first}\n");
        fs::write(&centre.config, text.replace("launch = \"sudo\"\n", &tcp)).unwrap();
    })
    .await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let call = async |account: &str, port: u16| {
        let output = centre.shell_as(account, &format!("exec perl -e '{CALLER}' {port}")).await;
        String::from_utf8(output.stdout).unwrap()
    };
    let instance = centre.pid(Part::Instance("alice")).unwrap();
    assert!(fs::read_link(format!("/proc/{instance}/fd/0")).unwrap().to_string_lossy().starts_with("socket:"));
    let ports: Vec<u16> = (1..20)
        .map(|more| first + more)
        .filter(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        .collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    for account in ["mallory", "bob", "alice", "ucloud"] {
        assert_eq!(call(account, ports[0]).await, "open unheard", "{account}");
        // The server's own port is reserved, and no process listens there.
        assert_eq!(call(account, first).await, "refused", "{account}");
    }
    // Their messages have not kept the gateway out.
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
}
