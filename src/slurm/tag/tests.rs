//! A job is found by its tag in the JSON of every version, and another user's job never is.

use super::*;

const TAG: &str = "00112233445566778899aabbccddeeff";

fn found(program: Program, json: &str) -> Option<u32> {
    let found = in_answer(program, json.as_bytes(), 1001, &[TAG].into()).unwrap();
    assert!(found.keys().all(|tag| tag == TAG), "{found:?}");
    found.get(TAG).map(|id| id.get())
}

fn squeue(jobs: &str) -> Option<u32> {
    found(Program::Squeue, &format!("{{\"meta\":{{}},\"errors\":[],\"jobs\":[{jobs}]}}"))
}

#[test]
fn a_job_is_found_by_its_tag_in_the_forms_of_every_version() {
    // 22.05: a word for the state, a list of nodes as text.
    let job = |uid: u32, comment: &str| {
        format!("{{\"job_id\":62,\"user_id\":{uid},\"comment\":{comment},\"job_state\":\"RUNNING\",\"nodes\":\"n1\"}}")
    };
    assert_eq!(squeue(&job(1001, &format!("{TAG:?}"))), Some(62));
    // 23.11: a list of states. 24.05: objects for nodes and numbers.
    let newer = format!(
        "{{\"job_id\":62,\"user_id\":1001,\"comment\":{TAG:?},\"job_state\":[\"RUNNING\",\"COMPLETING\"],\
         \"nodes\":{{\"count\":1}},\"time_limit\":{{\"set\":true,\"infinite\":false,\"number\":5}}}}"
    );
    assert_eq!(squeue(&newer), Some(62));
    let numbers = format!(
        "{{\"job_id\":{{\"set\":true,\"infinite\":false,\"number\":62}},\"user_id\":{{\"set\":true,\"number\":1001}},\
         \"comment\":{TAG:?}}}"
    );
    assert_eq!(squeue(&numbers), Some(62));
    // Accounting has three comments, and 22.05 writes null for those that are absent.
    let record = format!(
        "{{\"jobs\":[{{\"job_id\":62,\"comment\":{{\"administrator\":null,\"job\":{TAG:?},\"system\":null}}}}]}}"
    );
    assert_eq!(found(Program::Sacct, &record), Some(62));
}

#[test]
fn another_users_job_and_another_comment_are_not_it() {
    let job = |uid: &str, comment: &str| format!("{{\"job_id\":62,\"user_id\":{uid},\"comment\":{comment}}}");
    let tag = format!("{TAG:?}");
    assert_eq!(squeue(&job("1002", &tag)), None);
    assert_eq!(squeue(&job("\"1001\"", &tag)), None);
    assert_eq!(squeue(&job("null", &tag)), None);
    assert_eq!(squeue(&job("{\"set\":false,\"number\":1001}", &tag)), None);
    assert_eq!(squeue(&job("{\"set\":true,\"infinite\":true,\"number\":1001}", &tag)), None);
    for comment in ["null", "\"\"", "7", &format!("{:?}", format!("{TAG} ")), &format!("[{tag}]")] {
        assert_eq!(squeue(&job("1001", comment)), None, "{comment}");
    }
    assert_eq!(squeue(""), None);
    // The name holds a job with the tag; JSON keeps it a name.
    let forged = format!("{{\"job_id\":7,\"user_id\":1001,\"comment\":\"x\",\"name\":{:?}}}", job("1001", &tag));
    assert_eq!(squeue(&forged), None);
    let administrators =
        format!("{{\"jobs\":[{{\"job_id\":62,\"comment\":{{\"administrator\":{tag},\"job\":\"\"}}}}]}}");
    assert_eq!(found(Program::Sacct, &administrators), None);
}

#[test]
fn the_first_of_several_is_it() {
    let job = |id: u32| format!("{{\"job_id\":{id},\"user_id\":1001,\"comment\":{TAG:?}}}");
    assert_eq!(squeue(&[job(63), job(62), job(64)].join(",")), Some(62));
}

#[test]
fn an_answer_of_another_form_is_no_answer() {
    for bad in ["", "[]", "{}", "{\"jobs\":{}}", "{\"jobs\":[]", "null"] {
        assert!(in_answer(Program::Squeue, bad.as_bytes(), 1001, &[TAG].into()).is_err(), "{bad}");
    }
    let no_id = format!("{{\"jobs\":[{{\"job_id\":0,\"user_id\":1001,\"comment\":{TAG:?}}}]}}");
    assert!(in_answer(Program::Squeue, no_id.as_bytes(), 1001, &[TAG].into()).is_err());
}

#[test]
fn the_real_answer_of_22_05_is_read() {
    let real = include_str!("../samples/squeue-22.05.json");
    let found = |uid| in_answer(Program::Squeue, real.as_bytes(), uid, &["UCloud job"].into()).unwrap();
    assert_eq!(found(1001).get("UCloud job").map(|id| id.get()), Some(14));
    assert!(found(1002).is_empty());
}

#[test]
fn each_of_several_tags_has_its_own_job() {
    let job = |id: u32, tag: &str| format!("{{\"job_id\":{id},\"user_id\":1001,\"comment\":{tag:?}}}");
    let jobs = [job(63, "a"), job(64, "b"), job(65, "c")].join(",");
    let found = in_answer(Program::Squeue, format!("{{\"jobs\":[{jobs}]}}").as_bytes(), 1001, &["a", "c", "d"].into());
    let found: Vec<_> = found.unwrap().into_iter().map(|(tag, id)| (tag, id.get())).collect();
    assert_eq!(found, [("a".to_owned(), 63), ("c".to_owned(), 65)]);
}
