//! Compares the result of a call with the expectations of its case, and counts what was compared in `checked`.

use super::Difference;
use super::cases::{Case, ExpectedEvent};
use super::matching::match_json;
use super::target::Client;
use crate::client::{ClientError, EventStart, Invocation, PeerClient, Transaction};
use crate::console::error_text;
use fabric_primitives::text::cut;
use fabric_protos::protos::Response;
use serde_json::Value;
use tokio::time::Instant;

/// The most characters of a payload that are shown.
const SHOWN: usize = 2000;

/// Endorses the call, compares the response, then submits it, waits until these peers have committed it, and compares
/// the result. Returns the payload.
pub(super) async fn submitted(
    case: &Case,
    peers: &[PeerClient],
    client: &Client,
    invocation: &Invocation,
    organizations: &[String],
    deadline: Instant,
    checked: &mut usize,
) -> Result<Vec<u8>, Difference> {
    let gateway = &client.gateway;
    let proposal = invocation.propose(gateway.signer()).map_err(|error| failure("a proposal", &error))?;
    let transaction = match gateway.endorse(&proposal, organizations, deadline).await {
        Ok(transaction) => transaction,
        Err(error) => return answer(case, Err(&error), checked).map(|()| Vec::new()),
    };
    let response = transaction.response().map_err(|error| failure("an endorsed transaction", &error))?;
    answer(case, Ok(&response), checked)?;
    endorsers(case, &transaction, checked)?;

    // Events are read from the next block, so that none is missed.
    let height = match case.event {
        Some(_) => gateway.chain_info(&invocation.channel, deadline).await.map(|info| Some(info.height)),
        None => Ok(None),
    };
    let height = height.map_err(|error| failure("the height of the ledger", &error))?;
    let committed = gateway.commit(&transaction, peers, deadline).await;
    // The validation code.
    *checked += 1;
    let result = match (&case.invalid, committed) {
        (None, Err(error)) => Err(failure("a committed, valid transaction", &error)),
        (None, Ok(committed)) => match (&case.event, height) {
            (Some(expected), Some(height)) => {
                event(expected, client, invocation, height, &committed.transaction_id, deadline, checked).await
            }
            _ => Ok(()),
        },
        (Some(code), Err(ClientError::Invalid { code: seen, .. })) if seen == code.0.as_str_name() => Ok(()),
        (Some(code), committed) => Err(Difference {
            expected: format!("a transaction that is committed as invalid: {}", code.0.as_str_name()),
            seen: committed.map_or_else(|error| error_text(&error), |_| "a valid one".to_owned()),
        }),
    };
    result.map(|()| response.payload)
}

fn endorsers(case: &Case, transaction: &Transaction, checked: &mut usize) -> Result<(), Difference> {
    let Some(expected) = case.endorsed_by else { return Ok(()) };
    let organizations = transaction.endorsers().map_err(|error| failure("endorsements that can be read", &error))?;
    *checked += 1;
    if organizations.len() == expected {
        return Ok(());
    }
    Err(Difference {
        expected: format!("endorsements of {expected} organizations"),
        seen: format!("endorsements of {organizations:?}"),
    })
}

async fn event(
    expected: &ExpectedEvent,
    client: &Client,
    invocation: &Invocation,
    from_block: u64,
    transaction_id: &str,
    deadline: Instant,
    checked: &mut usize,
) -> Result<(), Difference> {
    let what = format!("the event {}", expected.name);
    let start = EventStart::Block(from_block);
    let events = client.gateway.chaincode_events(&invocation.channel, &invocation.chaincode, &start);
    let mut events = events.map_err(|error| failure(&what, &error))?;
    let event = loop {
        let event = events.next(deadline).await.map_err(|error| failure(&what, &error))?;
        if event.transaction_id == transaction_id {
            break event;
        }
    };
    *checked += 1;
    if event.name != expected.name {
        return Err(Difference { expected: what, seen: format!("the event {}", event.name) });
    }
    match &expected.payload {
        Some(payload) => json(&payload.0, &event.payload, checked),
        None => Ok(()),
    }
}

fn failure(expected: &str, error: &(impl std::error::Error + ?Sized)) -> Difference {
    Difference { expected: expected.to_owned(), seen: error_text(error) }
}

/// Compares a response or error with the expectations of the case.
pub(super) fn answer(
    case: &Case,
    answer: Result<&Response, &ClientError>,
    checked: &mut usize,
) -> Result<(), Difference> {
    match answer {
        Err(error) if case.must_fail() => refusal(case, error, checked),
        Err(error) => Err(failure("success", error)),
        Ok(response) if case.must_fail() => Err(Difference {
            expected: error_expected(case),
            seen: format!("success, with the payload {}", shown(&response.payload)),
        }),
        Ok(response) => {
            if let Some(status) = case.status {
                *checked += 1;
                if status != response.status {
                    return Err(status_difference(status, &format!("the status {}", response.status)));
                }
            }
            payload(case, &response.payload, checked)
        }
    }
}

fn refusal(case: &Case, error: &ClientError, checked: &mut usize) -> Result<(), Difference> {
    let seen = error_text(error);
    *checked += usize::from(case.error.is_some()) + usize::from(case.status.is_some());
    if case.error.as_ref().is_some_and(|expected| !seen.contains(expected.as_str())) {
        return Err(Difference { expected: error_expected(case), seen });
    }
    let status = error.chaincode_error().map(|(status, _)| status);
    match case.status {
        Some(expected) if status != Some(expected) => Err(status_difference(expected, &seen)),
        _ => Ok(()),
    }
}

fn error_expected(case: &Case) -> String {
    match (&case.error, case.status) {
        (Some(text), _) => format!("an error that contains: {text}"),
        (None, status) => format!("a response of the chaincode with the status {}", status.unwrap_or_default()),
    }
}

fn status_difference(expected: i32, seen: &str) -> Difference {
    Difference { expected: format!("a response of the chaincode with the status {expected}"), seen: seen.to_owned() }
}

fn payload(case: &Case, seen: &[u8], checked: &mut usize) -> Result<(), Difference> {
    if let Some(expected) = &case.payload {
        return json(&expected.0, seen, checked);
    }
    if let Some(expected) = &case.payload_base64 {
        *checked += 1;
        if expected.0 == seen {
            return Ok(());
        }
        let bytes = |bytes: &[u8]| cut(&format!("{:?}", &bytes[..bytes.len().min(SHOWN)]), SHOWN);
        return Err(Difference { expected: format!("the payload {}", bytes(&expected.0)), seen: bytes(seen) });
    }
    *checked += usize::from(case.payload_text.is_some());
    match &case.payload_text {
        Some(text) if text.as_bytes() != seen => Err(Difference {
            expected: format!("the payload {}", shown(text.as_bytes())),
            seen: format!("the payload {}", shown(seen)),
        }),
        _ => Ok(()),
    }
}

fn json(expected: &Value, seen: &[u8], checked: &mut usize) -> Result<(), Difference> {
    *checked += 1;
    let text = shown(seen);
    let difference = match serde_json::from_slice(seen) {
        Ok(seen) => match_json(expected, &seen).err(),
        Err(error) => Some(format!("not JSON: {error}")),
    };
    match difference {
        None => Ok(()),
        Some(difference) => Err(Difference {
            expected: shown(expected.to_string().as_bytes()),
            seen: format!("{text}\n{}", cut(&difference, SHOWN)),
        }),
    }
}

/// A payload as text, cut in a message.
fn shown(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    if text.chars().nth(SHOWN).is_none() {
        return text.into_owned();
    }
    format!("{} ({} bytes)", cut(&text, SHOWN), payload.len())
}

#[cfg(test)]
mod tests {
    use super::super::cases::CaseFile;
    use super::*;

    fn case(text: &str) -> Case {
        CaseFile::from_toml("t", &format!("[[case]]\nname = 'c'\n{text}")).unwrap().cases.remove(0)
    }

    fn answer(case: &Case, seen: Result<&Response, &ClientError>) -> Result<(), Difference> {
        super::answer(case, seen, &mut 0)
    }

    #[test]
    fn each_expectation_of_an_answer_counts() {
        let error = ClientError::Rejected {
            operation: "evaluate",
            node: "peer0".to_owned(),
            status: 404,
            message: "no asset".to_owned(),
        };
        for (expectations, seen, expected) in [
            ("", Ok(()), 0),
            ("payload = 5", Ok(()), 1),
            ("payload_text = '5'\nstatus = 200", Ok(()), 2),
            ("payload_base64 = 'NQ=='", Ok(()), 1),
            ("error = 'asset'", Err(()), 1),
            ("error = 'asset'\nstatus = 404", Err(()), 2),
            // The first difference ends the comparison.
            ("payload = 5\nstatus = 201", Ok(()), 1),
            ("payload = 5", Err(()), 0),
        ] {
            let case = case(&format!("evaluate = ['F']\n{expectations}"));
            let (ok, mut checked) = (response(200, b"5"), 0);
            let _ = super::answer(&case, seen.map(|()| &ok).map_err(|()| &error), &mut checked);
            assert_eq!(checked, expected, "{expectations}");
        }
    }

    #[test]
    fn a_case_that_says_little_is_named() {
        for (text, checked, expected) in [
            ("evaluate = ['F']", 0, Some("only that the call succeeds")),
            ("evaluate = ['F']\npayload = 5", 1, None),
            ("evaluate = ['F']\npayload = {}", 1, Some("any object")),
            ("submit = ['F']\nevent = { name = 'E', payload = {} }", 1, Some("any object")),
            ("submit = ['F']", 1, None),
        ] {
            let weakness = case(text).weakness(checked);
            assert_eq!(weakness.is_some(), expected.is_some(), "{text}");
            assert!(weakness.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}: {weakness:?}");
        }
    }

    fn response(status: i32, payload: &[u8]) -> Response {
        Response { status, payload: payload.into(), ..Response::default() }
    }

    #[test]
    fn an_answer_is_compared_with_what_the_case_expects() {
        let error = ClientError::NoPeer { operation: "evaluate" };
        let ok = |payload: &str| response(200, payload.as_bytes());
        let object = case("evaluate = ['F']\npayload = { ID = 'a' }");
        assert!(answer(&object, Ok(&ok(r#"{"ID":"a","Size":1}"#))).is_ok());
        assert!(answer(&object, Ok(&ok(r#"{"ID":"b"}"#))).unwrap_err().seen.contains("$.ID is \"b\""));
        assert!(answer(&object, Ok(&ok("no"))).unwrap_err().seen.contains("not JSON"));
        assert!(answer(&object, Err(&error)).is_err());
        let text = case("submit = ['F']\npayload_text = 'Ines'");
        assert!(answer(&text, Ok(&ok("Ines"))).is_ok());
        assert!(answer(&text, Ok(&ok("Ines "))).is_err());
        let bytes = case("submit = ['F']\npayload_base64 = '/wA='");
        assert!(answer(&bytes, Ok(&response(200, b"\xff\x00"))).is_ok());
        assert!(answer(&bytes, Ok(&ok(""))).is_err());
        let refused = case("submit = ['F']\nerror = 'evaluate'");
        assert!(answer(&refused, Err(&error)).is_ok());
        assert!(answer(&refused, Ok(&ok(""))).unwrap_err().seen.contains("success"));
        let other = case("submit = ['F']\nerror = 'something else'");
        assert!(answer(&other, Err(&error)).is_err());
    }

    #[test]
    fn a_large_payload_is_cut() {
        let large = "x".repeat(400_000);
        for expected in [
            format!("payload_text = '{large}y'"),
            format!("payload = '{large}y'"),
            "payload_base64 = ''".to_owned(),
            "error = 'x'".to_owned(),
        ] {
            let case = case(&format!("evaluate = ['F']\n{expected}"));
            for payload in [large.clone(), format!("\"{large}\"")] {
                let Difference { expected, seen } = answer(&case, Ok(&response(200, payload.as_bytes()))).unwrap_err();
                assert!(expected.len() < 2100 && seen.len() < 4200, "{} and {} bytes", expected.len(), seen.len());
            }
        }
    }

    #[test]
    fn a_status_is_compared_on_success_and_as_an_error() {
        let created = case("submit = ['F']\nstatus = 201");
        assert!(answer(&created, Ok(&response(201, b""))).is_ok());
        assert!(answer(&created, Ok(&response(200, b""))).unwrap_err().seen.contains("the status 200"));
        let rejected = |status| ClientError::Rejected {
            operation: "evaluate",
            node: "peer0".to_owned(),
            status,
            message: "no asset a9".to_owned(),
        };
        let absent = case("evaluate = ['F']\nstatus = 404\nerror = 'a9'");
        assert!(answer(&absent, Err(&rejected(404))).is_ok());
        assert!(answer(&absent, Err(&rejected(500))).unwrap_err().expected.contains("status 404"));
        let alone = case("evaluate = ['F']\nstatus = 404");
        assert!(answer(&alone, Err(&rejected(404))).is_ok());
        assert!(answer(&alone, Ok(&response(200, b""))).unwrap_err().expected.contains("status 404"));
        assert!(answer(&alone, Err(&ClientError::NoPeer { operation: "evaluate" })).is_err());
    }
}
