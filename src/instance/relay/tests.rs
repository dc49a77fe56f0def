//! Tests of the relay, with the instance's end of it.

use super::*;
use crate::jobs::relay::{Relay, RelayError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A relay for these ports, and this end of it.
async fn relay(ports: &[u16]) -> Relay {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let ports: Arc<[u16]> = ports.into();
    tokio::spawn(async move { serve(far, ports).await });
    Relay::over(near).await.unwrap()
}

async fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
        }
    });
    port
}

#[tokio::test]
async fn bytes_of_many_connections_pass_both_ways() {
    let port = echo().await;
    let relay = Arc::new(relay(&[port]).await);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20_u8 {
        let relay = Arc::clone(&relay);
        all.spawn(async move {
            let stream = relay.connect(port).await.unwrap();
            let (mut from, mut to) = tokio::io::split(stream);
            let sent = vec![number; 1_000_000];
            let sending = async {
                to.write_all(&sent).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let mut came = Vec::new();
            let (_, read) = tokio::join!(sending, from.read_to_end(&mut came));
            assert_eq!((read.unwrap(), came == sent), (sent.len(), true));
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn j06_a_relay_connects_to_its_own_targets_and_no_other() {
    let (port, other) = (echo().await, echo().await);
    let relay = relay(&[port]).await;
    assert!(relay.connect(port).await.is_ok());
    assert!(matches!(relay.connect(other).await, Err(RelayError::Refused(Refused::Target))));
    let request = |method: Method, target: &str| {
        let request = Request::builder().method(method).uri(target);
        request.body(()).unwrap()
    };
    let check = |method: Method, target: &str| super::target(&request(method, target), &[port]);
    let at = |host: &str| format!("{host}:{port}");
    assert!(check(Method::CONNECT, &at("127.0.0.1")).is_ok());
    for host in ["localhost", "127.0.0.2", "0.0.0.0", "[::1]", "192.0.2.1", "127.1", "user@127.0.0.1"] {
        assert_eq!(check(Method::CONNECT, &at(host)), Err(Refused::Target), "{host}");
    }
    assert_eq!(check(Method::GET, &format!("http://127.0.0.1:{port}/")), Err(Refused::Target));
}

#[tokio::test]
async fn a_port_at_which_nothing_listens_is_told_apart() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let relay = relay(&[port]).await;
    assert!(matches!(relay.connect(port).await, Err(RelayError::Refused(Refused::NotThere))));
}
