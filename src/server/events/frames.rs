//! Parses the frames of Core's events (wire notes, section 6.8).
//!
//! Pure and bounded: a frame that is cut short, that has an unknown event, or that refers to what
//! was not introduced is refused as a whole, and the connection ends. A project or user that cannot
//! be used is skipped, with the wallets that refer to it.

use std::collections::BTreeMap;

use countersign_keys::identity::{ProjectId, Username};
use countersign_keys::store::projects::PROJECTS_MAX;
use serde::Deserialize;

use super::project::{PROJECT_BYTES_MAX, SeenProject, UnusableProject};

/// Longest frame, in bytes: one of the longest projects, and some more.
pub(crate) const FRAME_MAX: usize = 2 * PROJECT_BYTES_MAX;

/// Longest description of a category that is parsed, and longest name of a user, in bytes.
const TEXT_MAX: usize = 64 * 1024;

/// Most users and categories that one connection introduces.
const REFERENCES_MAX: usize = 100_000;

const AUTH: u8 = 0;
const WALLET: u8 = 1;
const PROJECT: u8 = 2;
const CATEGORY: u8 = 3;
const USER: u8 = 4;

/// Flags of a wallet.
const LOCKED: u32 = 1;
const OF_PROJECT: u32 = 1 << 1;

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Project(SeenProject),
    Wallet(SeenWallet),
    /// A project that is skipped.
    Unusable(UnusableProject),
}

/// An owner's allowance in a category of products, on Core's word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SeenWallet {
    pub(crate) owner: Owner,
    /// The category's name, which may have any characters.
    pub(crate) category: String,
    pub(crate) wallet: Wallet,
}

/// In the category's unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wallet {
    pub(crate) quota: u64,
    pub(crate) used: u64,
    pub(crate) is_locked: bool,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Owner {
    User(Username),
    Project(ProjectId),
}

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum FrameRejection {
    #[error("it is cut short")]
    Short,
    #[error("it has an unknown event")]
    Unknown,
    #[error("a text in it is too long")]
    Long,
    #[error("it refers to what was not introduced")]
    Reference,
    #[error("it introduces too much")]
    TooMany,
}

/// What one connection has introduced, by reference; `None` for what is skipped.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// At most [`REFERENCES_MAX`].
    users: BTreeMap<u32, Option<Username>>,
    /// At most [`PROJECTS_MAX`].
    projects: BTreeMap<u32, Option<ProjectId>>,
    /// At most [`REFERENCES_MAX`].
    categories: BTreeMap<u32, Option<String>>,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

impl Frames {
    /// The first frame, in which Core finds the token and from when on events are replayed.
    pub(crate) fn first(replay_from_ms: i64, token: &str) -> Vec<u8> {
        let length = u32::try_from(token.len()).unwrap_or(u32::MAX);
        let flags = 0_u64;
        let parts: [&[u8]; 5] =
            [&[AUTH], &replay_from_ms.to_be_bytes(), &flags.to_be_bytes(), &length.to_be_bytes(), token.as_bytes()];
        parts.concat()
    }

    /// The events of one frame.
    pub(crate) fn read(&mut self, frame: &[u8]) -> Result<Vec<Event>, FrameRejection> {
        let mut rest = Rest(frame);
        let mut events = Vec::new();
        while let Some((&kind, after)) = rest.0.split_first() {
            rest.0 = after;
            match kind {
                WALLET => events.extend(self.wallet(&mut rest)?.map(Event::Wallet)),
                PROJECT => events.push(self.project(&mut rest)?),
                CATEGORY => {
                    let reference = rest.u32()?;
                    let text = rest.text(TEXT_MAX)?;
                    let category = serde_json::from_slice::<Category>(text).ok().map(|category| category.name);
                    introduce(&mut self.categories, reference, category, REFERENCES_MAX)?;
                }
                USER => {
                    let reference = rest.u32()?;
                    let text = std::str::from_utf8(rest.text(TEXT_MAX)?).ok();
                    let user = text.and_then(|text| Username::parse(text).ok());
                    introduce(&mut self.users, reference, user, REFERENCES_MAX)?;
                }
                _ => return Err(FrameRejection::Unknown),
            }
        }
        Ok(events)
    }

    fn project(&mut self, rest: &mut Rest<'_>) -> Result<Event, FrameRejection> {
        let reference = rest.u32()?;
        // The same moment stands in the description.
        let _modified_ms = rest.u64()?;
        let parsed = SeenProject::parse(rest.text(FRAME_MAX)?);
        let id = parsed.as_ref().ok().map(|project| project.id.clone());
        introduce(&mut self.projects, reference, id, PROJECTS_MAX)?;
        Ok(parsed.map_or_else(Event::Unusable, Event::Project))
    }

    /// `None` if its owner or category is skipped.
    fn wallet(&self, rest: &mut Rest<'_>) -> Result<Option<SeenWallet>, FrameRejection> {
        let (owner, category) = (rest.u32()?, rest.u32()?);
        let (quota, used, flags) = (rest.u64()?, rest.u64()?, rest.u32()?);
        let _updated_ms = rest.u64()?;
        let owner = if flags & OF_PROJECT == 0 {
            self.users.get(&owner).ok_or(FrameRejection::Reference)?.clone().map(Owner::User)
        } else {
            self.projects.get(&owner).ok_or(FrameRejection::Reference)?.clone().map(Owner::Project)
        };
        let category = self.categories.get(&category).ok_or(FrameRejection::Reference)?.clone();
        let wallet = Wallet { quota, used, is_locked: flags & LOCKED != 0 };
        Ok(owner.zip(category).map(|(owner, category)| SeenWallet { owner, category, wallet }))
    }
}

fn introduce<T>(known: &mut BTreeMap<u32, T>, reference: u32, what: T, max: usize) -> Result<(), FrameRejection> {
    if known.len() >= max && !known.contains_key(&reference) {
        return Err(FrameRejection::TooMany);
    }
    known.insert(reference, what);
    Ok(())
}

/// The part of a frame that is not parsed yet.
struct Rest<'f>(&'f [u8]);

impl<'f> Rest<'f> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameRejection> {
        let (array, rest) = self.0.split_first_chunk().ok_or(FrameRejection::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, FrameRejection> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameRejection> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self, max: usize) -> Result<&'f [u8], FrameRejection> {
        let length = usize::try_from(self.u32()?).ok().filter(|length| *length <= max).ok_or(FrameRejection::Long)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(FrameRejection::Short)?;
        self.0 = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20";

    fn text(frame: &mut Vec<u8>, text: &str) {
        frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text.as_bytes());
    }

    fn project(reference: u32, id: &str) -> Vec<u8> {
        let json = json!({
            "id": id, "modifiedAt": 5, "specification": {"title": "T"},
            "status": {"archived": false, "members": [{"username": "alice#1", "role": "PI"}]},
        });
        let mut frame = vec![PROJECT];
        frame.extend(reference.to_be_bytes());
        frame.extend(5_i64.to_be_bytes());
        text(&mut frame, &json.to_string());
        frame
    }

    fn user(reference: u32, name: &str) -> Vec<u8> {
        let mut frame = vec![USER];
        frame.extend(reference.to_be_bytes());
        text(&mut frame, name);
        frame
    }

    fn category(reference: u32, json: &str) -> Vec<u8> {
        let mut frame = vec![CATEGORY];
        frame.extend(reference.to_be_bytes());
        text(&mut frame, json);
        frame
    }

    fn wallet(owner: u32, category: u32, flags: u32) -> Vec<u8> {
        let mut frame = vec![WALLET];
        frame.extend(owner.to_be_bytes());
        frame.extend(category.to_be_bytes());
        frame.extend(1_000_u64.to_be_bytes());
        frame.extend(7_u64.to_be_bytes());
        frame.extend(flags.to_be_bytes());
        frame.extend(9_i64.to_be_bytes());
        frame
    }

    fn whole() -> Vec<u8> {
        let parts =
            [user(0, "alice#1"), project(0, ID), category(0, "{\"name\":\"u1\"}"), wallet(0, 0, 1), wallet(0, 0, 2)];
        parts.concat()
    }

    #[test]
    fn a_frame_is_read_as_core_writes_it() {
        let events = Frames::default().read(&whole()).unwrap();
        let owners = [Owner::User(Username::parse("alice#1").unwrap()), Owner::Project(ProjectId::parse(ID).unwrap())];
        let [Event::Project(project), Event::Wallet(first), Event::Wallet(second)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(project.id.as_str(), ID);
        assert_eq!([first.owner.clone(), second.owner.clone()], owners);
        assert_eq!(first.wallet, Wallet { quota: 1_000, used: 7, is_locked: true });
        assert!(!second.wallet.is_locked && second.category == "u1");
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_but_between_events_is_refused() {
        let (frame, mut ends, mut end) = (whole(), Vec::new(), 0);
        for part in [user(0, "alice#1"), project(0, ID), category(0, "{\"name\":\"u1\"}"), wallet(0, 0, 1)] {
            end += part.len();
            ends.push(end);
        }
        for length in 0..frame.len() {
            let read = Frames::default().read(&frame[..length]);
            assert_eq!(read.is_ok(), length == 0 || ends.contains(&length), "{length}: {read:?}");
        }
    }

    #[test]
    fn no_bytes_at_all_are_too_much_for_the_parser() {
        // xorshift, so that a failure is found again.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap()
        };
        let whole = whole();
        for _ in 0..20_000 {
            let mut frame = whole.clone();
            for _ in 0..=next() % 4 {
                let at = next() % frame.len();
                match next() % 3 {
                    0 => frame[at] = u8::try_from(next() % 256).unwrap(),
                    1 => frame.truncate(at.max(1)),
                    _ => frame.insert(at, u8::try_from(next() % 6).unwrap()),
                }
            }
            let mut frames = Frames::default();
            let _read = frames.read(&frame);
            let _again = frames.read(&frame);
        }
    }

    #[test]
    fn what_a_frame_claims_is_bounded() {
        let check = |frame: &[u8], want: FrameRejection| {
            assert_eq!(Frames::default().read(frame), Err(want), "{frame:?}");
        };
        check(&[5], FrameRejection::Unknown);
        check(&wallet(0, 0, 0), FrameRejection::Reference);
        check(&[user(0, "a"), wallet(0, 0, 0)].concat(), FrameRejection::Reference);
        check(&[category(0, "{}"), wallet(0, 0, 2)].concat(), FrameRejection::Reference);
        check(&[USER, 0, 0, 0, 0, 255, 255, 255, 255], FrameRejection::Long);
        check(&[USER, 0, 0, 0, 0, 0, 0, 255, 255], FrameRejection::Short);
        let mut frames = Frames::default();
        for reference in 0..u32::try_from(PROJECTS_MAX).unwrap() {
            frames.read(&project(reference, ID)).unwrap();
        }
        assert_eq!(frames.read(&project(u32::MAX, ID)), Err(FrameRejection::TooMany));
        frames.read(&project(7, ID)).unwrap();
    }

    #[test]
    fn wallets_of_what_is_skipped_are_skipped() {
        let frame =
            [user(0, "a\nb"), category(0, "7"), user(1, "alice#1"), category(1, "{\"name\":\"u1\"}"), project(0, "x")];
        let mut frames = Frames::default();
        assert_eq!(frames.read(&frame.concat()).unwrap(), [Event::Unusable(UnusableProject::Id)]);
        for (owner, category, flags, want) in [(0, 1, 0, 0), (1, 0, 0, 0), (0, 1, 2, 0), (1, 1, 0, 1)] {
            assert_eq!(frames.read(&wallet(owner, category, flags)).unwrap().len(), want, "{owner} {category} {flags}");
        }
    }

    #[test]
    fn the_first_frame_has_time_and_token() {
        let frame = Frames::first(1, "ab");
        assert_eq!(frame, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, b'a', b'b']);
    }
}
