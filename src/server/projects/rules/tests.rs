//! Tests of the rules, one by one and against a simple model over a year of events.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

const ID: &str = "0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20";
const NOW: i64 = 1_800_000_000;
const LIMITS: Removals = Removals { each_hour: 3, all_hour: 5 };
const PI: ProjectRole = ProjectRole::Pi;
const ADMIN: ProjectRole = ProjectRole::Admin;
const USER: ProjectRole = ProjectRole::User;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds)
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn seen(modified_ms: i64, members: &[(&str, ProjectRole)]) -> SeenProject {
    SeenProject {
        id: ProjectId::parse(ID).unwrap(),
        title: "T".to_owned(),
        modified_ms,
        is_archived: false,
        members: members.iter().map(|(name, role)| (user(name), *role)).collect(),
    }
}

/// A project that takes up events and decisions.
struct Project {
    record: ProjectRecord,
    elsewhere: usize,
}

impl Project {
    /// With these members, all confirmed.
    fn of(members: &[(&str, ProjectRole)]) -> Self {
        let mut project = Self { record: unknown(ProjectId::parse(ID).unwrap()), elsewhere: 0 };
        project.take_up(0, members).unwrap();
        for (name, _) in members {
            project.approve(name).unwrap();
        }
        project
    }

    fn take_up(&mut self, now: i64, members: &[(&str, ProjectRole)]) -> Result<Taken, NotTaken> {
        take_up(&mut self.record, &seen(at(now).seconds() * 1_000, members), LIMITS, self.elsewhere, at(now))
    }

    fn approve(&mut self, name: &str) -> Result<Confirmed, NothingToDecide> {
        approve(&mut self.record, &user(name), "uid-0", at(0))
    }

    fn confirmed(&self) -> Vec<(&str, ProjectRole)> {
        let members = self.record.members.iter();
        members.filter_map(|(name, member)| Some((name.as_str(), member.confirmed()?))).collect()
    }

    fn waiting(&self) -> Vec<(&str, Waiting)> {
        let members = self.record.members.iter();
        members.filter_map(|(name, member)| Some((name.as_str(), waiting(member)?))).collect()
    }
}

#[test]
fn a_member_whom_core_adds_waits_until_an_administrator_confirms() {
    let mut project = Project::of(&[]);
    project.take_up(1, &[("alice", PI), ("mallory", USER)]).unwrap();
    assert_eq!(project.confirmed(), []);
    assert_eq!(project.waiting(), [("alice", Waiting::Addition), ("mallory", Waiting::Addition)]);
    assert_eq!(project.approve("alice"), Ok(Confirmed::Admitted(PI)));
    assert_eq!(project.approve("alice"), Err(NothingToDecide::NothingWaits));
    assert_eq!(project.approve("eve"), Err(NothingToDecide::NotListed));
    assert_eq!(project.confirmed(), [("alice", PI)]);
}

#[test]
fn a_higher_role_waits_and_a_lower_one_acts_at_once() {
    let mut project = Project::of(&[("alice", PI), ("bob", USER), ("carl", ADMIN)]);
    project.take_up(1, &[("alice", PI), ("bob", ADMIN), ("carl", USER)]).unwrap();
    assert_eq!(project.confirmed(), [("alice", PI), ("bob", USER), ("carl", USER)]);
    assert_eq!(project.waiting(), [("bob", Waiting::HigherRole)]);
    assert_eq!(project.approve("bob"), Ok(Confirmed::Admitted(ADMIN)));
    project.take_up(2, &[("alice", PI), ("bob", ADMIN), ("carl", ADMIN)]).unwrap();
    assert_eq!(project.waiting(), [("carl", Waiting::HigherRole)], "lowered and raised again");
}

#[test]
fn a_member_who_was_removed_and_comes_back_waits_again() {
    let mut project = Project::of(&[("alice", PI), ("bob", USER)]);
    let taken = project.take_up(1, &[("alice", PI)]).unwrap();
    assert_eq!(taken.removed, [(user("bob"), USER)]);
    project.take_up(2, &[("alice", PI), ("bob", USER)]).unwrap();
    assert_eq!((project.confirmed(), project.waiting()), (vec![("alice", PI)], vec![("bob", Waiting::Addition)]));
}

#[test]
fn the_last_confirmed_pi_stays_on_cores_word() {
    let mut project = Project::of(&[("alice", PI), ("bob", USER)]);
    let taken = project.take_up(1, &[("bob", USER), ("mallory", PI)]).unwrap();
    assert_eq!(taken.held, [user("alice")]);
    assert_eq!(project.confirmed(), [("alice", PI), ("bob", USER)]);
    // Neither again nor by a lower role.
    assert_eq!(project.take_up(2, &[("bob", USER), ("mallory", PI)]).unwrap(), Taken::default());
    project.take_up(3, &[("alice", USER), ("bob", USER), ("mallory", PI)]).unwrap();
    assert_eq!(project.confirmed(), [("alice", PI), ("bob", USER)]);
    // An administrator admits another PI. The lower role acts then.
    assert_eq!(project.approve("mallory"), Ok(Confirmed::Admitted(PI)));
    assert_eq!(project.confirmed(), [("alice", USER), ("bob", USER), ("mallory", PI)]);
    // Two PIs that leave at once: one of them stays.
    let mut project = Project::of(&[("alice", PI), ("bob", PI)]);
    project.take_up(1, &[]).unwrap();
    assert_eq!(project.confirmed(), [("bob", PI)]);
    assert_eq!(project.approve("bob"), Ok(Confirmed::Removed));
    assert_eq!(project.confirmed(), []);
}

#[test]
fn removals_beyond_a_number_an_hour_wait() {
    let mut project = Project::of(&[("a", PI), ("b", USER), ("c", USER), ("d", USER), ("e", USER), ("f", USER)]);
    let taken = project.take_up(1, &[("a", PI)]).unwrap();
    assert_eq!((taken.removed.len(), taken.held), (3, vec![user("e"), user("f")]));
    // They wait for a confirmation however long, and stay if Core lists them again.
    project.take_up(2 * HOUR_S, &[("a", PI)]).unwrap();
    assert_eq!(project.waiting(), [("e", Waiting::Removal), ("f", Waiting::Removal)]);
    assert_eq!(reject(&mut project.record, &user("e")), Err(NothingToDecide::Removal));
    project.take_up(2 * HOUR_S + 1, &[("a", PI), ("f", USER)]).unwrap();
    assert_eq!(project.waiting(), [("e", Waiting::Removal)]);
    assert_eq!(project.approve("e"), Ok(Confirmed::Removed));
    assert_eq!(project.confirmed(), [("a", PI), ("f", USER)]);
    // The hour is over, so the next removal acts at once; of all projects no more than so many do.
    project.elsewhere = LIMITS.all_hour;
    assert_eq!(project.take_up(2 * HOUR_S + 2, &[("a", PI)]).unwrap().held, [user("f")]);
    let mut project = Project::of(&[("a", PI), ("b", USER)]);
    project.elsewhere = LIMITS.all_hour - 1;
    assert_eq!(project.take_up(1, &[("a", PI)]).unwrap().removed.len(), 1);
}

#[test]
fn an_older_event_changes_nothing() {
    let mut project = Project::of(&[("alice", PI), ("bob", USER)]);
    project.take_up(5, &[("alice", PI)]).unwrap();
    let before = project.record.clone();
    assert_eq!(project.take_up(4, &[("alice", PI), ("bob", USER)]), Err(NotTaken::Old));
    assert_eq!(take_up(&mut project.record, &seen(i64::MAX, &[]), LIMITS, 0, at(6)), Err(NotTaken::Early));
    let ahead = (NOW + AHEAD_MAX_S + 1) * 1_000;
    assert_eq!(take_up(&mut project.record, &seen(ahead, &[]), LIMITS, 0, at(0)), Err(NotTaken::Early));
    assert_eq!(project.record, before);
}

#[test]
fn what_was_rejected_waits_no_more_until_core_names_another_role() {
    let mut project = Project::of(&[("alice", PI)]);
    project.take_up(1, &[("alice", PI), ("bob", ADMIN)]).unwrap();
    assert_eq!(reject(&mut project.record, &user("bob")), Ok(ADMIN));
    project.take_up(2, &[("alice", PI), ("bob", ADMIN)]).unwrap();
    assert_eq!((project.waiting(), project.confirmed()), (vec![], vec![("alice", PI)]));
    assert_eq!(reject(&mut project.record, &user("bob")), Err(NothingToDecide::NothingWaits));
    project.take_up(3, &[("alice", PI), ("bob", USER)]).unwrap();
    assert_eq!(project.waiting(), [("bob", Waiting::Addition)]);
    assert_eq!(reject(&mut project.record, &user("bob")), Ok(USER));
    assert_eq!(project.approve("bob"), Ok(Confirmed::Admitted(USER)), "an administrator changes their mind");
}

/// Who is admitted, by a model that knows only: confirmed since Core listed the member without a
/// break, and never more removals than are allowed.
#[derive(Default)]
struct Model {
    admitted: BTreeMap<String, ProjectRole>,
    latest: Option<i64>,
}

#[test]
fn a_year_of_events_admits_only_whom_an_administrator_confirmed() {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const ROLES: [ProjectRole; 3] = [USER, ADMIN, PI];
    for seed in 1..40_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % below
        };
        let (mut record, mut model) = (unknown(ProjectId::parse(ID).unwrap()), Model::default());
        let mut events: Vec<SeenProject> = Vec::new();
        let (mut now, mut hour): (i64, Vec<i64>) = (0, Vec::new());
        while now < 365 * 86_400 {
            now += i64::try_from(next(86_400)).unwrap();
            let event = match next(6) {
                // Lost: Core changes something, and only a later event shows it.
                0 => continue,
                // Repeated, or out of order.
                1 if !events.is_empty() => {
                    events[usize::try_from(next(u64::try_from(events.len()).unwrap())).unwrap()].clone()
                }
                _ => {
                    let mut listed = Vec::new();
                    for name in NAMES {
                        if next(10) < 7 {
                            listed.push((name, ROLES[usize::try_from(next(3)).unwrap()]));
                        }
                    }
                    let mut event = seen(at(now).seconds() * 1_000, &listed);
                    event.is_archived = next(10) == 0;
                    event.title = next(1_000).to_string();
                    event
                }
            };
            events.push(event.clone());
            hour.retain(|removed| now - removed < HOUR_S);
            let taken = take_up(&mut record, &event, LIMITS, 0, at(now));
            assert_eq!(taken.is_err(), model.latest.is_some_and(|latest| event.modified_ms < latest));
            if let Ok(taken) = taken {
                model.latest = Some(event.modified_ms);
                for (username, _) in &taken.removed {
                    assert!(!event.members.contains_key(username), "Core lists them");
                    assert!(model.admitted.remove(username.as_str()).is_some());
                    hour.push(now);
                }
                for (name, role) in &mut model.admitted {
                    let named = event.members.get(&user(name)).copied();
                    let confirmed = record.members[&user(name)].confirmed().unwrap();
                    assert!(confirmed <= *role, "never higher than was confirmed");
                    // Lowered to what Core names, unless the member is the last PI.
                    if confirmed != *role {
                        assert_eq!(Some(confirmed), named);
                    }
                    *role = confirmed;
                }
                let kept = model.admitted.keys().filter(|name| !event.members.contains_key(&user(name)));
                for name in kept {
                    assert!(record.members[&user(name)].leaving.is_some(), "a removal that did not act waits");
                }
            }
            assert!(hour.len() <= LIMITS.each_hour);
            // A decision about a member, now and then.
            let name = user(NAMES[usize::try_from(next(8)).unwrap()]);
            if next(3) == 0 {
                match approve(&mut record, &name, "uid-0", at(now)) {
                    Ok(Confirmed::Admitted(role)) => _ = model.admitted.insert(name.to_string(), role),
                    Ok(Confirmed::Removed) => _ = model.admitted.remove(name.as_str()),
                    Err(_) => {}
                }
                // Another PI may let a lower role act.
                for (name, role) in &mut model.admitted {
                    *role = record.members[&user(name)].confirmed().unwrap().min(*role);
                }
            }
            // The server is killed, and reads what it wrote.
            if next(20) == 0 {
                record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
            }
            let confirmed: BTreeMap<String, ProjectRole> =
                record.members.iter().filter_map(|(name, one)| Some((name.to_string(), one.confirmed()?))).collect();
            assert_eq!(confirmed, model.admitted, "seed {seed}, {now}");
        }
        assert!(events.len() > 200);
    }
}
