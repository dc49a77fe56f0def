//! Reports to the server which keys were used, for the list in which users look for foreign or
//! unneeded keys.
//!
//! A key counts as used when one of its intents is consumed, not when a client names it. Memory and
//! messages are bounded: each key once in [`TELL_EVERY`].

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_keys::identity::{KeyId, Username};
use tokio::sync::mpsc;

use countersign_ipc::gateway_protocol::{FromGateway, USES_MAX, UsedKey};

/// Interval of the reports. The server stores the hour, so a minute does not matter.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(60);

/// Keys remembered between two reports, as many as the key cache holds. A further key is reported
/// if it is used again later.
const KEYS_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Uses {
    used: Mutex<HashSet<(Username, KeyId)>>,
}

impl Uses {
    /// Notes that an intent of this key was consumed.
    pub(crate) fn note(&self, username: &Username, kid: KeyId) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < KEYS_MAX {
            used.insert((username.clone(), kid));
        }
    }

    /// Reports to the server until the control channel ends.
    pub(crate) async fn tell(&self, say: mpsc::Sender<FromGateway>) {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        loop {
            ticks.tick().await;
            for keys in self.take() {
                if say.send(FromGateway::Used { keys }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes the unreported keys, in messages that fit a line.
    fn take(&self) -> Vec<Vec<UsedKey>> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let keys: Vec<UsedKey> = used.into_iter().map(|(username, kid)| UsedKey { username, kid }).collect();
        keys.chunks(USES_MAX).map(<[UsedKey]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ipc::gateway_protocol::LINE_MAX;

    fn kid(number: usize) -> KeyId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        KeyId::from_bytes(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn s18_each_key_is_told_once_a_minute_and_only_if_it_was_used() {
        let (uses, alice) = (Uses::default(), Username::parse("alice").unwrap());
        let (say, mut said) = mpsc::channel(64);
        for _ in 0..1_000 {
            uses.note(&alice, kid(1));
        }
        let listening = async {
            let FromGateway::Used { keys } = said.recv().await.unwrap() else { panic!("uses") };
            assert_eq!(keys, [UsedKey { username: alice.clone(), kid: kid(1) }]);
            // Two minutes without a use.
            let silence = tokio::time::timeout(TELL_EVERY * 2, said.recv()).await;
            assert!(silence.is_err());
            uses.note(&alice, kid(1));
            assert!(matches!(said.recv().await, Some(FromGateway::Used { keys }) if keys.len() == 1));
        };
        tokio::select! {
            () = uses.tell(say) => panic!("the line is open"),
            () = listening => {}
        }
    }

    #[test]
    fn s18_what_is_remembered_and_said_is_bounded() {
        let uses = Uses::default();
        // The longest username, of characters that JSON escapes.
        let long = Username::parse(&"\"".repeat(256)).unwrap();
        for number in 0..=KEYS_MAX {
            uses.note(&long, kid(number));
        }
        let told = uses.take();
        assert_eq!(told.iter().map(Vec::len).sum::<usize>(), KEYS_MAX);
        let line = serde_json::to_string(&FromGateway::Used { keys: told[0].clone() }).unwrap();
        assert!(line.len() < LINE_MAX, "{} bytes", line.len());
        assert!(uses.take().is_empty());
    }
}
