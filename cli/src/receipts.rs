//! What an answer to a batch says of each of its lines. Pure.

use serde::Deserialize;

use crate::{
    client::{Answer, Problem},
    exit::Failure,
    lines::Line,
};

/// What is to be done.
#[derive(Debug)]
pub enum Verdict {
    /// Each line has its answer.
    Judged(Judged),
    /// The API refused all lines for the fault of some: send them in smaller parts.
    Split,
}

/// Each line's answer.
#[derive(Debug, Default)]
pub struct Judged {
    /// Stored.
    pub accepted: u64,
    /// Refused, with every reason.
    pub refused: Vec<(u64, Vec<String>)>,
    /// May or may not be stored.
    pub unknown: Vec<u64>,
    /// Certainly not stored: send again.
    pub again: Vec<Line>,
    /// Why they are to be sent again.
    pub why: String,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    status: String,
    error: Option<Problem>,
}

/// Judges the answer to a batch of `lines`. An answer that no line is to blame for is a failure.
pub fn judge(answer: &Answer, lines: &[Line]) -> Result<Verdict, Failure> {
    if let Ok(Results { results }) = serde_json::from_str(&answer.body) {
        return each(results, lines).map(Verdict::Judged);
    }
    let problem = answer.problem();
    match answer.status {
        _ if problem.retryable && answer.status != 504 => {
            Ok(Verdict::Judged(Judged { again: lines.to_vec(), why: problem.sentence(), ..Judged::default() }))
        }
        504 => Ok(Verdict::Judged(Judged { unknown: lines.iter().map(|l| l.number).collect(), ..Judged::default() })),
        400 | 413 | 422 => match lines {
            [line] => {
                let refused = vec![(line.number, problem.reasons())];
                Ok(Verdict::Judged(Judged { refused, ..Judged::default() }))
            }
            _ => Ok(Verdict::Split),
        },
        _ => Err(answer.failure()),
    }
}

fn each(results: Vec<Item>, lines: &[Line]) -> Result<Judged, Failure> {
    if results.len() != lines.len() {
        let text = format!("the API answered for {} of {} events: is it another version?", results.len(), lines.len());
        return Err(Failure::error(text));
    }
    let mut judged = Judged::default();
    for item in results {
        let line = lines.get(item.index).ok_or_else(|| Failure::error("the API answered for an event never sent"))?;
        let problem = item.error.unwrap_or_default();
        match item.status.as_str() {
            "accepted" | "duplicate" | "spooled" => judged.accepted += 1,
            "retry" => {
                judged.why = problem.sentence();
                judged.again.push(line.clone());
            }
            "unknown" => judged.unknown.push(line.number),
            _ => judged.refused.push((line.number, problem.reasons())),
        }
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(n: u64) -> Vec<Line> {
        (1..=n).map(|number| Line { number: number * 10, event: "{}".into() }).collect()
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, body: body.into() }
    }

    #[test]
    fn each_line_has_its_own_answer() {
        let body = r#"{"summary":{},"results":[{"index":0,"status":"accepted","event_id":"a","partition":0,"offset":1},
            {"index":1,"status":"invalid","error":{"code":"schema_validation_failed","errors":[
              {"pointer":"/payload/a","msg":"missing","type":"missing"},{"pointer":"/payload/b","msg":"bad","type":"x"}]}},
            {"index":2,"status":"retry","error":{"code":"queue_full","title":"Full"}},{"index":3,"status":"unknown"}]}"#;
        let Verdict::Judged(judged) = judge(&answer(207, body), &lines(4)).unwrap() else { panic!("split") };
        assert_eq!(judged.accepted, 1);
        let reasons = vec!["/payload/a: missing (missing)".to_owned(), "/payload/b: bad (x)".to_owned()];
        assert_eq!(judged.refused, [(20, reasons)]);
        assert_eq!(judged.again, [Line { number: 30, event: "{}".into() }]);
        assert_eq!((judged.unknown, judged.why.as_str()), (vec![40], "Full"));
    }

    #[test]
    fn a_refusal_of_all_is_halved_until_one_is_left() {
        let malformed = answer(400, r#"{"code":"malformed_json","detail":"no"}"#);
        assert!(matches!(judge(&malformed, &lines(2)).unwrap(), Verdict::Split));
        let Verdict::Judged(judged) = judge(&malformed, &lines(1)).unwrap() else { panic!("split") };
        assert_eq!(judged.refused, [(10, vec!["no".to_owned()])]);
    }

    #[test]
    fn full_is_tried_again_and_no_receipt_is_not() {
        let full = answer(503, r#"{"code":"queue_full","title":"Full","retryable":true}"#);
        let Verdict::Judged(judged) = judge(&full, &lines(2)).unwrap() else { panic!("split") };
        assert_eq!(judged.again.len(), 2);
        let lost = answer(504, r#"{"code":"delivery_unknown","retryable":true}"#);
        let Verdict::Judged(judged) = judge(&lost, &lines(2)).unwrap() else { panic!("split") };
        assert_eq!(judged.unknown, [10, 20]);
    }

    #[test]
    fn what_no_line_can_help_is_a_failure() {
        for (status, body) in [(404, r#"{"code":"unknown_topic"}"#), (500, "{}"), (207, r#"{"results":[]}"#)] {
            assert!(judge(&answer(status, body), &lines(1)).is_err(), "{status}");
        }
    }
}
