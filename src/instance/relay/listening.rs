//! Who listens at a port of this machine, as the kernel says (`/proc/net/tcp`, proc(5)).

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::StatusCode;
use nix::unistd::Uid;

/// The tables of IPv4 and of IPv6, whose sockets take connections of both.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Most bytes read of a table: 100,000 sockets. Listening sockets stand first.
const TABLE_MAX: u64 = 16 * 1024 * 1024;

/// The state of a listening socket.
const LISTEN: &str = "0A";

/// Why a connection is refused, for the instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// Not one of the relay's own targets.
    Target,
    /// Nothing listens there.
    NotThere,
    /// Another account listens there.
    Foreign,
}

impl Refused {
    const ALL: [Self; 3] = [Self::Target, Self::NotThere, Self::Foreign];

    /// What an answer of the relay with this status means.
    pub(crate) fn of(status: StatusCode) -> Option<Self> {
        Self::ALL.into_iter().find(|refused| refused.status() == status)
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Target => StatusCode::BAD_REQUEST,
            Self::NotThere => StatusCode::BAD_GATEWAY,
            Self::Foreign => StatusCode::FORBIDDEN,
        }
    }
}

/// A listening socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Socket {
    uid: u32,
    inode: u64,
}

/// The sockets that may take a connection to a port of 127.0.0.1.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Listening(Vec<Socket>);

impl Listening {
    pub(super) fn at(port: u16) -> Self {
        let read = |path: &&str| {
            let mut text = String::new();
            let file = fs::File::open(path).ok()?;
            file.take(TABLE_MAX).read_to_string(&mut text).ok()?;
            Some(text)
        };
        Self(TABLES.iter().filter_map(read).flat_map(|text| sockets(&text, port)).collect())
    }

    /// The sockets, if all are that account's.
    pub(super) fn of(self, uid: Uid) -> Result<Vec<Socket>, Refused> {
        if self.0.is_empty() {
            return Err(Refused::NotThere);
        }
        let is_own = |socket: &Socket| socket.uid == uid.as_raw();
        if self.0.iter().all(is_own) { Ok(self.0) } else { Err(Refused::Foreign) }
    }
}

fn sockets(table: &str, port: u16) -> Vec<Socket> {
    table.lines().filter_map(|line| socket(line, port)).collect()
}

/// Reads a row: number, local address, remote address, state, queues, timers, timeouts, account,
/// timeout, inode.
fn socket(line: &str, port: u16) -> Option<Socket> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (address, at) = columns.next()?.split_once(':')?;
    if u16::from_str_radix(at, 16).ok()? != port || columns.nth(1)? != LISTEN || !takes_loop_back(address)? {
        return None;
    }
    let uid = columns.nth(3)?.parse().ok()?;
    let inode = columns.nth(1)?.parse().ok()?;
    Some(Socket { uid, inode })
}

/// Whether a socket at that local address takes connections to 127.0.0.1. The kernel prints words
/// of 32 bits in the machine's own order of bytes.
fn takes_loop_back(address: &str) -> Option<bool> {
    let word = |at: usize| {
        let digits = address.get(at.checked_mul(8)?..)?.get(..8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    // An IPv6 socket for every address takes those of IPv4, unless it says otherwise.
    Some(match address.to_canonical() {
        IpAddr::V4(address) => address == Ipv4Addr::LOCALHOST || address.is_unspecified(),
        IpAddr::V6(address) => address.is_unspecified(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

    fn row(local: &str, state: &str, uid: u32, inode: u64) -> String {
        format!(
            "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 {inode} 1 0000 100 0 0 10 0"
        )
    }

    fn found(rows: &[String], port: u16) -> Vec<(u32, u64)> {
        let table = format!("{HEAD}\n{}\n", rows.join("\n"));
        sockets(&table, port).into_iter().map(|socket| (socket.uid, socket.inode)).collect()
    }

    #[test]
    fn only_sockets_that_take_the_connection_count() {
        let loop_back = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let other = format!("{:08X}", u32::from_ne_bytes([192, 0, 2, 1]));
        let mapped = format!("00000000{:016X}{loop_back}", 0).replacen("0000000000000000", "00000000", 1);
        let mapped = format!("{}{:08X}{}", &mapped[..16], u32::from_ne_bytes([0, 0, 0xff, 0xff]), loop_back);
        let port = "1F90";
        for (local, state, is_found) in [
            (loop_back.as_str(), "0A", true),
            ("00000000", "0A", true),
            ("00000000000000000000000000000000", "0A", true),
            (mapped.as_str(), "0A", true),
            (other.as_str(), "0A", false),
            (loop_back.as_str(), "01", false),
            ("0000", "0A", false),
        ] {
            let rows = [row(&format!("{local}:{port}"), state, 1000, 7)];
            assert_eq!(found(&rows, 8080), if is_found { vec![(1000, 7)] } else { vec![] }, "{local} {state}");
            assert!(found(&rows, 8081).is_empty());
        }
    }

    #[test]
    fn j06_a_port_with_another_accounts_socket_is_not_this_accounts() {
        let uid = Uid::from_raw(1000);
        let socket = |uid, inode| Socket { uid, inode };
        assert_eq!(Listening(vec![]).of(uid), Err(Refused::NotThere));
        assert_eq!(Listening(vec![socket(1001, 1)]).of(uid), Err(Refused::Foreign));
        assert_eq!(Listening(vec![socket(1000, 1), socket(0, 2)]).of(uid), Err(Refused::Foreign));
        assert_eq!(Listening(vec![socket(1000, 1)]).of(uid), Ok(vec![socket(1000, 1)]));
    }

    #[test]
    fn the_kernel_lists_a_socket_of_this_process() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Listening::at(port).of(Uid::effective()).unwrap();
        assert_eq!(own.len(), 1);
        drop(listener);
        assert_eq!(Listening::at(port).of(Uid::effective()), Err(Refused::NotThere));
    }
}
