//! The browser's half of a sealed session (protocol, section 10): HPKE in base mode and the
//! records, from RFC 9180 alone.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hmac;

use crate::{Fault, jws};

/// The first record of a direction.
pub const FIRST: u8 = 0;
/// A part of a message that has more of them.
pub const PART: u8 = 1;
/// A message, or its last part.
pub const MESSAGE: u8 = 2;
/// The last record of a direction.
pub const END: u8 = 3;

/// Most plaintext of a record, in bytes.
pub const PLAINTEXT_MAX: usize = 64 * 1024;

const TAG: usize = 16;
const KEM_SUITE: &[u8] = b"KEM\x00\x10";
const SUITE: &[u8] = b"HPKE\x00\x10\x00\x01\x00\x02";

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

/// `LabeledExtract` (RFC 9180 section 4).
fn extract(suite: &[u8], salt: &[u8], label: &[u8], secret: &[u8]) -> Vec<u8> {
    mac(salt, &[b"HPKE-v1", suite, label, secret])
}

/// `LabeledExpand` to 32 bytes, which is one block of HKDF-SHA256.
fn expand(suite: &[u8], key: &[u8], label: &[u8], info: &[u8]) -> Vec<u8> {
    mac(key, &[&[0, 32], b"HPKE-v1", suite, label, info, &[1]])
}

/// A sender's HPKE context.
#[derive(Clone, Debug)]
pub struct SealingKey {
    enc: Vec<u8>,
    exporter: Vec<u8>,
}

impl SealingKey {
    /// Agrees on keys with the instance that made a token; `None` if the token offers no seal.
    ///
    /// # Errors
    /// [`Fault::Key`] or [`Fault::Json`] if the token is not one.
    pub fn agree(token: &str) -> Result<Option<Self>, Fault> {
        let (_, claims) = jws::read(token)?;
        let Some(public) = claims.pointer("/seal/pk").and_then(serde_json::Value::as_str) else { return Ok(None) };
        let ephemeral = PrivateKey::generate(&ECDH_P256).map_err(|_| Fault::Key)?;
        Self::set_up(&ephemeral, &jws::from_base64url(public)?, &jws::sha256(token.as_bytes())).map(Some)
    }

    /// `SetupBaseS` with a given ephemeral key, for the RFC's vectors.
    ///
    /// # Errors
    /// [`Fault::Key`] if a key is none.
    pub fn set_up_with(ephemeral: &[u8], public: &[u8], info: &[u8]) -> Result<Self, Fault> {
        let ephemeral = PrivateKey::from_private_key(&ECDH_P256, ephemeral).map_err(|_| Fault::Key)?;
        Self::set_up(&ephemeral, public, info)
    }

    fn set_up(ephemeral: &PrivateKey, public: &[u8], info: &[u8]) -> Result<Self, Fault> {
        let enc = ephemeral.compute_public_key().map_err(|_| Fault::Key)?.as_ref().to_vec();
        let peer = UnparsedPublicKey::new(&ECDH_P256, public);
        let dh = agree(ephemeral, peer, Fault::Key, |dh| Ok(dh.to_vec()))?;
        let shared = expand(
            KEM_SUITE,
            &extract(KEM_SUITE, b"", b"eae_prk", &dh),
            b"shared_secret",
            &[enc.as_slice(), public].concat(),
        );
        let hashes = [extract(SUITE, b"", b"psk_id_hash", b""), extract(SUITE, b"", b"info_hash", info)];
        let context = [&[0], hashes.concat().as_slice()].concat();
        let secret = extract(SUITE, &shared, b"secret", b"");
        Ok(Self { enc, exporter: expand(SUITE, &secret, b"exp", &context) })
    }

    /// The encapsulated key, as the user signs it.
    #[must_use]
    pub fn enc(&self) -> String {
        jws::base64url(&self.enc)
    }

    /// `Export` of 32 bytes.
    #[must_use]
    pub fn export(&self, context: &[u8]) -> Vec<u8> {
        expand(SUITE, &self.exporter, b"sec", context)
    }

    /// What seals the client's records and opens the instance's, in the session that this intent
    /// opens.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library refuses a key.
    pub fn session(&self, intent: &str) -> Result<(Records, Records), Fault> {
        let intent = jws::sha256(intent.as_bytes());
        let key = |label: &[u8]| Records::new(&self.export(&[label, intent.as_slice()].concat()));
        Ok((key(b"countersign up")?, key(b"countersign down")?))
    }

    /// A piece of an upload, sealed with that salt.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library refuses a key.
    pub fn piece(&self, salt: [u8; 16], offset: i64, total: i64, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let context = [b"countersign piece", salt.as_slice(), &offset.to_be_bytes(), &total.to_be_bytes()].concat();
        let mut records = Records::new(&self.export(&context))?;
        let mut body = salt.to_vec();
        let contents = bytes.chunks(PLAINTEXT_MAX).map(|chunk| (MESSAGE, chunk));
        for (kind, content) in [(FIRST, &[][..])].into_iter().chain(contents).chain([(END, &[][..])]) {
            let record = records.seal(kind, content)?;
            body.extend(u32::try_from(record.len()).map_err(|_| Fault::Key)?.to_be_bytes());
            body.extend(record);
        }
        Ok(body)
    }

    /// Whether this is the instance's word that it has the piece with that salt.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library refuses a key.
    pub fn is_answer(&self, salt: [u8; 16], offset: i64, total: i64, answer: &[u8]) -> Result<bool, Fault> {
        let context =
            [b"countersign piece answer", salt.as_slice(), &offset.to_be_bytes(), &total.to_be_bytes()].concat();
        let mut records = Records::new(&self.export(&context))?;
        let mut rest = answer;
        for kind in [FIRST, END] {
            let Some((length, after)) = rest.split_first_chunk() else { return Ok(false) };
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Fault::Key)?;
            let Some((record, after)) = after.split_at_checked(length) else { return Ok(false) };
            if records.open(record).ok() != Some((kind, Vec::new())) {
                return Ok(false);
            }
            rest = after;
        }
        Ok(rest.is_empty())
    }
}

/// The records of one direction.
#[derive(Debug)]
pub struct Records {
    key: LessSafeKey,
    next: u64,
}

impl Records {
    /// Records under this key of 32 bytes.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is no such key.
    pub fn new(key: &[u8]) -> Result<Self, Fault> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Fault::Key)?;
        Ok(Self { key: LessSafeKey::new(key), next: 0 })
    }

    fn nonce(&mut self) -> Nonce {
        let number = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        let mut nonce = [0; 12];
        nonce.iter_mut().skip(4).zip(number).for_each(|(byte, of_number)| *byte = of_number);
        Nonce::assume_unique_for_key(nonce)
    }

    /// The next record.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library refuses it.
    pub fn seal(&mut self, kind: u8, plaintext: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut content = plaintext.to_vec();
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from([kind]), &mut content).map_err(|_| Fault::Key)?;
        content.insert(0, kind);
        Ok(content)
    }

    /// Kind and plaintext of the next record.
    ///
    /// # Errors
    /// [`Fault::Key`] if it does not open.
    pub fn open(&mut self, record: &[u8]) -> Result<(u8, Vec<u8>), Fault> {
        let (kind, sealed) = record.split_first().filter(|(_, sealed)| sealed.len() >= TAG).ok_or(Fault::Key)?;
        let mut sealed = sealed.to_vec();
        let nonce = self.nonce();
        let plaintext = self.key.open_in_place(nonce, Aad::from([*kind]), &mut sealed).map_err(|_| Fault::Key)?;
        Ok((*kind, plaintext.to_vec()))
    }

    /// The plaintext of a whole download: its head and its content.
    ///
    /// # Errors
    /// [`Fault::Key`] if a record does not open, or the last one is missing.
    pub fn open_download(&mut self, body: &[u8]) -> Result<(serde_json::Value, Vec<u8>), Fault> {
        let (mut head, mut content, mut rest) = (None, Vec::new(), body);
        loop {
            let (length, after) = rest.split_first_chunk().ok_or(Fault::Key)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Fault::Key)?;
            let (record, after) = after.split_at_checked(length).ok_or(Fault::Key)?;
            rest = after;
            match self.open(record)? {
                (FIRST, _) => {}
                (END, _) if rest.is_empty() => return Ok((head.ok_or(Fault::Key)?, content)),
                (MESSAGE, text) if head.is_none() => head = Some(serde_json::from_slice(&text)?),
                (MESSAGE, bytes) => content.extend(bytes),
                _ => return Err(Fault::Key),
            }
        }
    }
}
