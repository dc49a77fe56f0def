//! Slow clients and floods are ended or slowed down. Honest clients are served meanwhile, and
//! memory stays within its bound.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::Command;

use super::honest::Honest;
use super::proxy::{self, Front};
use super::script::Script;
use crate::support::test_site::Part;

/// Connections in these tests: half of them are one address's.
const CONNECTIONS_MAX: usize = 512;

/// What the gateway may have in memory, in MiB, whatever comes: it has some 40 in a debug build,
/// and what 512 connections may hold of heads, of bodies that anybody may send, and of TLS is 150
/// more.
const MEMORY_MAX_MIB: u64 = 320;

/// Where a flood comes from: an address of the same network interface, and not the honest user's.
/// Floods of frames come from one each, so that none of them is held up for what the one before has
/// sent.
fn flooder(attack: &str) -> String {
    let number = FRAMES.iter().position(|(known, _)| *known == attack).unwrap_or_default();
    format!("127.0.0.{}", number + 2)
}

/// How long each flood lasts: `tests/hostile/run` says how long.
fn seconds(at_least: f64) -> f64 {
    let asked = std::env::var("COUNTERSIGN_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok());
    f64::max(asked.unwrap_or(0.0), at_least)
}

/// What an honest user saw of an attack.
struct Meanwhile {
    asked: usize,
    fastest: Duration,
    memory_mib: u64,
}

impl Honest {
    fn gateway(&self) -> Pid {
        self.centre.pid(Part::Gateway).expect("a gateway")
    }

    /// Asks and asks until the attack has ended, on the old connection and on new ones.
    async fn during<T>(&self, what: &str, attack: impl Future<Output = T>) -> (T, Meanwhile) {
        let gateway = self.gateway();
        let mut meanwhile = Meanwhile { asked: 0, fastest: Duration::ZERO, memory_mib: 0 };
        let began = Instant::now();
        let mut attack = std::pin::pin!(attack);
        let ended = loop {
            let ask = async {
                let (kept, anew) = (self.asks(what).await, self.asks_anew(what).await);
                tokio::time::sleep(Duration::from_millis(20)).await; // or the honest user would be the flood
                kept.max(anew)
            };
            let mut ask = std::pin::pin!(ask);
            let (ended, took) = tokio::select! {
                ended = attack.as_mut() => (Some(ended), ask.await),
                took = ask.as_mut() => (None, took),
            };
            meanwhile.asked += 2;
            meanwhile.fastest = meanwhile.fastest.max(took);
            meanwhile.memory_mib = meanwhile.memory_mib.max(memory_mib(gateway));
            if let Some(ended) = ended {
                break ended;
            }
        };
        let Meanwhile { asked, fastest, memory_mib } = meanwhile;
        println!(
            "{what}: {:.1} s, {asked} honest requests answered, the fastest in {} ms; the gateway had {memory_mib} MiB at most",
            began.elapsed().as_secs_f64(),
            fastest.as_millis(),
        );
        assert!(asked >= 4, "{what}: only {asked} honest requests");
        assert!(memory_mib <= MEMORY_MAX_MIB, "{what}: the gateway has {memory_mib} MiB");
        assert_eq!(self.gateway(), gateway, "{what}: the gateway is another");
        (ended, meanwhile)
    }

    /// One flood of `flood.py`, and what it has to say.
    async fn begin(&self, attack: &str, for_s: f64, connections: usize) -> Value {
        self.begin_from(attack, for_s, connections, 1).await
    }

    /// The same from so many addresses.
    async fn begin_from(&self, attack: &str, for_s: f64, connections: usize, addresses: usize) -> Value {
        let mut script = Script::start("flood.py");
        let address = self.centre.address;
        let told = json!({
            "attack": attack, "host": address.ip(), "port": address.port(), "source": flooder(attack), "seconds": for_s,
            "connections": connections, "addresses": addresses,
        });
        script.say(&told).await;
        script.hear().await
    }

    /// The same while the honest user asks.
    async fn flooded(&self, attack: &str, for_s: f64, connections: usize) -> Value {
        let (report, _) = self.during(attack, self.begin(attack, for_s, connections)).await;
        println!("    {report}");
        report
    }
}

/// The most that a process ever had in memory, in MiB.
fn memory_mib(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

async fn open() -> Honest {
    let (centre, _) = proxy::open(Front::Tls, &format!("connections_max = {CONNECTIONS_MAX}\n")).await;
    Honest::at(centre).await
}

/// How many connections ended like this.
fn ended(report: &Value, how: &str) -> u64 {
    report["ends"][how].as_u64().unwrap_or(0)
}

/// RFC 9113 section 7: errors that a connection is ended with.
const PROTOCOL: &str = "goaway 1";
const FLOW_CONTROL: &str = "goaway 3";
const CALM: &str = "goaway 11";

/// Floods of frames, and what a connection that carries one is ended with. Those without an end are
/// slowed down: what they are owed is not written any faster than they read, and nothing of theirs
/// is read meanwhile.
const FRAMES: [(&str, Option<&str>); 13] = [
    ("rapid reset", Some(CALM)),
    ("made you reset", Some(PROTOCOL)),
    ("continuation", Some(CALM)),
    ("empty continuation", Some(CALM)),
    ("empty data", Some(CALM)),
    ("hpack bomb", Some(CALM)),
    // So few requests of it are read that it never has as many streams open, or reset, as end a
    // connection.
    ("no window", None),
    ("window overflow", Some(FLOW_CONTROL)),
    ("small windows", None),
    ("settings", None),
    ("settings, unread", None),
    ("pings", None),
    ("pings, unread", None),
];

/// Bytes of a flood that one connection may bring before it is ended: a head without an end is read
/// to its end, up to a limit of frames.
const TAKEN_MAX: u64 = 16 * 1024 * 1024;

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_floods_of_frames_are_ended_or_slowed_down() {
    let honest = open().await;
    for (attack, end) in FRAMES {
        // A stranger's connection is read at a pace: what ends it has to be read first.
        let for_s = if end.is_some() { 5.0 } else { 1.0 };
        let report = honest.flooded(attack, seconds(for_s), 0).await;
        let Some(end) = end else { continue };
        assert!(ended(&report, end) > 0 && ended(&report, "open") <= 1, "{attack}: {report}");
        assert!(report["largest"].as_u64().unwrap() <= TAKEN_MAX, "{attack}: {report}");
    }
    honest.asks("afterwards").await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_floods_of_connections_leave_room_for_others() {
    let honest = open().await;
    // More from one address than one address may have: as many as it may, and no more.
    let each_max = u64::try_from(CONNECTIONS_MAX / 2).unwrap();
    let report = honest.flooded("silent connections", seconds(1.0), CONNECTIONS_MAX).await;
    assert_eq!((ended(&report, "open"), ended(&report, "closed")), (each_max, each_max), "{report}");
    for attack in ["half handshakes", "long heads", "long bodies"] {
        let report = honest.flooded(attack, seconds(1.0), CONNECTIONS_MAX).await;
        assert!(ended(&report, "opened") >= each_max, "the attack was made: {report}");
    }
    let report = honest.flooded("handshakes", seconds(1.0), 0).await;
    assert!(ended(&report, "done") > 0, "{report}");
    let report = honest.flooded("head bombs", seconds(1.0), 0).await;
    assert!(ended(&report, "ended") > 0, "{report}");
    honest.asks("afterwards").await;
}

/// Connections of each mode of `slowhttptest`: all of them come from the honest user's own address,
/// and leave it room.
const SLOW: usize = 50;

/// Debian's `slowhttptest` in one of its modes: whether all of its connections were closed before
/// its time was over.
async fn slow(honest: &Honest, mode: &str, path: &str, more: &[&str], for_s: f64) -> bool {
    let (count, length) = (SLOW.to_string(), format!("{for_s:.0}"));
    let url = format!("https://{}{path}", honest.centre.address);
    let mut command = Command::new("slowhttptest");
    command.args([mode, "-c", &count, "-r", &count, "-i", "1", "-p", "30", "-l", &length, "-u", &url]).args(more);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let began = Instant::now();
    let output = command.output().await.expect("slowhttptest is not installed: see ./test");
    let said = String::from_utf8_lossy(&output.stdout);
    let is_over = said.contains("No open connections left");
    assert!(is_over || said.contains("Hit test time limit"), "{said}");
    println!("slowhttptest {mode}: {:.1} s, all were closed: {is_over}", began.elapsed().as_secs_f64());
    is_over
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_slow_clients_are_ended_and_hold_nobody_up() {
    let honest = open().await;
    let (page, deposits) = ("/ucloud/hpc/intent/calls.json", "/ucloud/hpc/intents");
    // A head has 10 s, such a body 5.5 s. These end when the last connection is closed, so that a
    // long time for it costs none.
    let long_s = seconds(40.0);
    // An answer may be left unread for 30 s, which is longer than this lasts in ./test.
    let reads_s = seconds(10.0);
    let all = async {
        tokio::join!(
            slow(&honest, "-H", page, &[], long_s),
            slow(&honest, "-B", deposits, &["-f", "application/jwt", "-s", "8192"], long_s),
            slow(&honest, "-R", page, &[], long_s),
            slow(&honest, "-X", page, &["-k", "3", "-w", "1", "-y", "64", "-n", "5", "-z", "1"], reads_s),
            honest.begin("half handshakes", long_s, SLOW),
        )
    };
    let ((heads, bodies, ranges, reads, half), _) = honest.during("slow clients", all).await;
    assert!(heads && bodies && ranges && (reads || reads_s < 40.0), "{:?}", (heads, bodies, ranges, reads));
    assert_eq!(ended(&half, "closed"), u64::try_from(SLOW).unwrap(), "{half}");
}

/// Addresses that a flood of refusals comes from: more would be a flood of handshakes.
const FLOODERS: usize = 40;

/// How much longer the log may get in such a flood, in bytes.
const GROWTH_MAX: u64 = 1024 * 1024;

/// What the 99th percentile of answers may be in a flood, as a multiple of what it was without.
const SLOWER_MAX: u32 = 2;

/// What the 99th percentile is taken for if it was less without the flood: the figure of a debug
/// build on two cores that have nothing else to do. Without it the test would judge the noise of a
/// faster machine.
const CALM_AT_LEAST: Duration = Duration::from_millis(28);

/// How often an attack is made before its effect on time counts. One that slows others slows them
/// each time; what else runs on the machine slows one of them.
const ROUNDS: usize = 3;

/// How much longer Core and honest users may take for a new connection and an answer while
/// strangers hold what they can, and begin again what was closed as fast as they can.
const CONNECTED_LATER_MAX: Duration = Duration::from_millis(100);

impl Honest {
    /// The bytes of both logs' records.
    fn logged(&self) -> u64 {
        let logs = ["gateway", "server"].map(|log| self.centre.state.join("audit").join(log).join("entries"));
        let files = logs.iter().flat_map(|log| fs::read_dir(log).unwrap().flatten());
        files.map(|file| file.metadata().unwrap().len()).sum()
    }

    /// Requests of the honest user that are on record as let through.
    fn on_record(&self) -> usize {
        let let_through = |record: &&Value| record["decision"] == "forward" && record["call"] == "files.browse";
        self.centre.decisions().iter().filter(let_through).count()
    }

    /// The 99th percentile of answers to an honest user in one flood, after which every request of
    /// theirs is on record and the log has not grown much.
    async fn in_a_flood(&self, attack: &'static str, for_s: f64, calm: Duration) -> Duration {
        let (before, on_record) = (self.logged(), self.on_record());
        let mut report = Value::Null;
        let flood = async { report = self.begin(attack, for_s, FLOODERS).await };
        let times = self.times_until(attack, By::OldConnection, flood).await;
        // What was counted is written when its time is over.
        tokio::time::sleep(Duration::from_secs(11)).await;
        let (asked, recorded) = (times.len(), self.on_record() - on_record);
        let own = u64::try_from(asked).unwrap() * 400;
        let growth = self.logged().saturating_sub(before);
        println!(
            "{attack}: {report}\n    {growth} bytes of records, some {own} of them of {asked} honest requests; their p99 was {} ms, {} ms without the flood",
            p99(&times).as_millis(),
            calm.as_millis(),
        );
        assert_eq!(asked, recorded, "{attack}: every admitted request is on record");
        assert!(growth.saturating_sub(own) <= GROWTH_MAX, "{attack}: {growth} bytes");
        p99(&times)
    }

    /// How long the answers to an honest user took until that came about, in order. All of them are
    /// answered.
    async fn times_until(&self, what: &str, by: By, comes: impl Future<Output = ()>) -> Vec<Duration> {
        let mut comes = std::pin::pin!(comes);
        let mut times = Vec::new();
        loop {
            let ask = async {
                match by {
                    By::OldConnection => self.asks(what).await,
                    By::NewConnection => self.asks_anew(what).await,
                }
            };
            let mut ask = std::pin::pin!(ask);
            let is_over = tokio::select! {
                biased;
                took = ask.as_mut() => { times.push(took); false }
                () = comes.as_mut() => { times.push(ask.await); true }
            };
            if is_over {
                times.sort_unstable();
                return times;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What an honest user asks on.
#[derive(Clone, Copy)]
enum By {
    OldConnection,
    NewConnection,
}

fn p99(times: &[Duration]) -> Duration {
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v67_s03_a_flood_of_refusals_fills_no_log_and_hinders_nobody() {
    let honest = open().await;
    let for_s = seconds(3.0);
    let calm_s = Duration::from_secs_f64(f64::min(for_s, 10.0));
    let calm = honest.times_until("calm", By::OldConnection, tokio::time::sleep(calm_s)).await;
    let slower_max = SLOWER_MAX * p99(&calm).max(CALM_AT_LEAST);
    for attack in ["refusals", "refusals of HTTP/2", "refusals on sockets", "refused tokens", "public pages"] {
        let mut fastest = Duration::MAX;
        for _ in 0..ROUNDS {
            fastest = fastest.min(honest.in_a_flood(attack, for_s, p99(&calm)).await);
            if fastest <= slower_max {
                break;
            }
        }
        assert!(fastest <= slower_max, "{attack}: p99 {fastest:?} at best, {:?} without", p99(&calm));
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v73_s09_strangers_who_hold_all_they_can_keep_nobody_waiting() {
    let honest = open().await;
    let calm = honest.times_until("calm", By::NewConnection, tokio::time::sleep(Duration::from_secs(3))).await;
    for addresses in [2, 200] {
        let mut fastest = Duration::MAX;
        for _ in 0..ROUNDS {
            let mut report = Value::Null;
            let hold = async {
                let open_max = 2 * CONNECTIONS_MAX;
                report = honest.begin_from("connections begun again", seconds(15.0), open_max, addresses).await;
            };
            let times = honest.times_until("held connections", By::NewConnection, hold).await;
            println!(
                "{addresses} addresses: {report}; {} new connections, p99 {:?}, {:?} without",
                times.len(),
                p99(&times),
                p99(&calm)
            );
            let open = ended(&report, "open");
            assert!(open >= u64::try_from(CONNECTIONS_MAX * 3 / 4).unwrap(), "the attack was made: {report}");
            fastest = fastest.min(p99(&times));
            if fastest <= p99(&calm) + CONNECTED_LATER_MAX {
                break;
            }
        }
        assert!(fastest <= p99(&calm) + CONNECTED_LATER_MAX, "{addresses} addresses: {fastest:?} at best");
    }
}
