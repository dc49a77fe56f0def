//! Writes users with a connection and an active key into a store, as the product writes them.

use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::keyring::{Algorithm, KeyRecord, KeyState, Protocol};
use countersign_keys::store::records::{Connection, User};
use countersign_keys::store::{Interrupted, Table, Transaction};
use countersign_keys::time::Timestamp;

/// The name of user `n`.
pub(crate) fn name(n: u32) -> Username {
    Username::parse(&format!("user{n}#{}", n % 10_000)).unwrap()
}

/// The id of that user's key. Ids are spread over the table, like random ones.
pub(crate) fn kid(n: u32) -> KeyId {
    let mut bytes = [0xA5; 16];
    bytes[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
    KeyId::from_bytes(bytes)
}

fn stored<T: serde::Serialize>(record: &T) -> Vec<u8> {
    [&[1], serde_json::to_vec(record).unwrap().as_slice()].concat()
}

/// Writes the records of user `n`.
pub(crate) fn enrol(transaction: &dyn Transaction, n: u32) -> Result<(), Interrupted> {
    let (now, username, uid) = (Timestamp::from_seconds(1_800_000_000), name(n), Uid(10_000 + n));
    let connection = Connection {
        uid,
        account: format!("u{n}"),
        since: now,
        instance_key: "A".repeat(124),
        core_told: true,
        renewed: None,
        over: None,
        is_confirmed: true,
    };
    let user = User { username: username.clone(), connection: Some(connection), kids: vec![kid(n)] };
    let key = KeyRecord {
        owner: username.clone(),
        kid: kid(n),
        algorithm: Algorithm::Es256,
        spki: "A".repeat(124),
        protocol: Protocol::V2,
        state: KeyState::Active,
        created: now,
        expires: now.plus(15_552_000),
        name: "Firefox on Linux".to_owned(),
    };
    let at = [username.as_str().as_bytes(), &[0], kid(n).as_bytes()].concat();
    transaction.write(Table::Users, username.as_str().as_bytes(), stored(&user))?;
    transaction.write(Table::Uids, &uid.0.to_be_bytes(), stored(&[&username]))?;
    transaction.write(Table::Keys, &at, stored(&key))
}
