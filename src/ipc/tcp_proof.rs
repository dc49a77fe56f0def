//! Mutual authentication on loop-back TCP connections, whose peer the kernel does not name (S15).
//! The server gives both ends one key.
//!
//! The connecting end sends 32 random bytes. The listening end answers with 32 of its own and an
//! HMAC over both; the connecting end answers with another HMAC. So each end knows, before a byte
//! of a request, that the other has this listener's key. The key never crosses the connection, and
//! no message can be replayed on another connection or reflected.

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Bytes of a nonce and of a key.
const LENGTH: usize = 32;

/// How long the peer may take: it is on this machine and has nothing to look up.
const WITHIN: Duration = Duration::from_secs(2);

/// Domain separation for the listening end's HMAC.
const LISTENS: &[u8] = b"countersign tcp listener v1";

/// Domain separation for the connecting end's HMAC.
const CONNECTS: &[u8] = b"countersign tcp connector v1";

/// 32 random bytes, fresh for one connection.
pub type Nonce = [u8; LENGTH];

/// The key of one listening socket, made by the server.
#[derive(Clone, Debug)]
pub struct ListenerKey(Arc<Secret<Nonce>>);

impl ListenerKey {
    pub fn new(random: Nonce) -> Self {
        Self(Arc::new(Secret::new(random)))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.expose())
    }
}

impl PartialEq for ListenerKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ct(other.0.expose())
    }
}

impl Eq for ListenerKey {}

impl Hash for ListenerKey {
    /// Hashes nothing: addresses differ in their sockets.
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

impl Serialize for ListenerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.expose()))
    }
}

impl<'de> Deserialize<'de> for ListenerKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::new(String::deserialize(deserializer)?);
        let mut random = [0; LENGTH];
        match STANDARD.decode_slice(text.expose(), &mut random) {
            Ok(LENGTH) => Ok(Self::new(random)),
            Ok(_) | Err(_) => Err(serde::de::Error::custom("not the key of a listener")),
        }
    }
}

/// The connecting end: proves that it has the key after the listening end has.
///
/// # Errors
/// If the peer has another key or is slow, or if the connection breaks.
pub async fn connect<S>(stream: &mut S, key: &ListenerKey, nonce: Nonce) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(WITHIN, async {
        stream.write_all(&nonce).await?;
        let (mut theirs, mut tag) = ([0; LENGTH], [0; LENGTH]);
        stream.read_exact(&mut theirs).await?;
        stream.read_exact(&mut tag).await?;
        verify(key, LISTENS, &nonce, &theirs, &tag)?;
        stream.write_all(hmac::sign(&key.key(), &said(CONNECTS, &nonce, &theirs)).as_ref()).await
    })
    .await?
}

/// The listening end: proves first that it has the key.
///
/// # Errors
/// If the peer has another key or is slow, or if the connection breaks.
pub async fn accept<S>(stream: &mut S, key: &ListenerKey, nonce: Nonce) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(WITHIN, async {
        let (mut theirs, mut tag) = ([0; LENGTH], [0; LENGTH]);
        stream.read_exact(&mut theirs).await?;
        let answer = hmac::sign(&key.key(), &said(LISTENS, &theirs, &nonce));
        stream.write_all(&[&nonce[..], answer.as_ref()].concat()).await?;
        stream.read_exact(&mut tag).await?;
        verify(key, CONNECTS, &theirs, &nonce, &tag)
    })
    .await?
}

fn said(purpose: &[u8], connecting: &Nonce, listening: &Nonce) -> Vec<u8> {
    [purpose, connecting, listening].concat()
}

fn verify(key: &ListenerKey, purpose: &[u8], connecting: &Nonce, listening: &Nonce, tag: &Nonce) -> io::Result<()> {
    hmac::verify(&key.key(), &said(purpose, connecting, listening), tag).map_err(|_unspecified| {
        io::Error::new(io::ErrorKind::PermissionDenied, "the other end has not the key of this socket")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ListenerKey {
        ListenerKey::new([byte; LENGTH])
    }

    async fn met(connecting: u8, listening: u8) -> (io::Result<()>, io::Result<()>) {
        let (mut one, mut other) = tokio::io::duplex(256);
        let (one_key, other_key) = (key(connecting), key(listening));
        let listening = async move { accept(&mut other, &other_key, [2; LENGTH]).await };
        let connecting = async move { connect(&mut one, &one_key, [1; LENGTH]).await };
        tokio::join!(connecting, listening)
    }

    #[tokio::test]
    async fn s15_both_ends_show_that_they_have_the_key() {
        let (connected, accepted) = met(7, 7).await;
        connected.unwrap();
        accepted.unwrap();
        let (connected, accepted) = met(7, 8).await;
        assert_eq!(connected.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // The connecting end has sent nothing that a listener with another key could use.
        assert!(accepted.is_err());
    }

    #[tokio::test]
    async fn s15_an_answer_is_for_one_connection_and_one_direction() {
        let key = key(7);
        // Reflects the listener's answer.
        let (mut one, mut other) = tokio::io::duplex(256);
        let listening = async { accept(&mut other, &key, [2; LENGTH]).await };
        let attack = async {
            one.write_all(&[1; LENGTH]).await.unwrap();
            let mut answer = [0; 2 * LENGTH];
            one.read_exact(&mut answer).await.unwrap();
            one.write_all(&answer[LENGTH..]).await.unwrap();
        };
        assert_eq!(tokio::join!(listening, attack).0.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // Replays a connector's answer of another connection.
        let (mut one, mut other) = tokio::io::duplex(256);
        let listening = async { accept(&mut other, &key, [3; LENGTH]).await };
        let attack = async {
            one.write_all(&[1; LENGTH]).await.unwrap();
            let mut answer = [0; 2 * LENGTH];
            one.read_exact(&mut answer).await.unwrap();
            let earlier = hmac::sign(&key.key(), &said(CONNECTS, &[1; LENGTH], &[2; LENGTH]));
            one.write_all(earlier.as_ref()).await.unwrap();
        };
        assert_eq!(tokio::join!(listening, attack).0.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test(start_paused = true)]
    async fn s15_whoever_says_nothing_is_not_waited_for() {
        let (_silent, mut other) = tokio::io::duplex(256);
        assert_eq!(accept(&mut other, &key(7), [2; LENGTH]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn v62_a_key_prints_nothing_and_is_read_as_it_was_written() {
        assert_eq!(format!("{:?}", key(7)), "ListenerKey(<secret>)");
        let text = serde_json::to_string(&key(7)).unwrap();
        assert!(serde_json::from_str::<ListenerKey>(&text).unwrap() == key(7));
        assert!(serde_json::from_str::<ListenerKey>("\"AAAA\"").is_err());
    }
}
