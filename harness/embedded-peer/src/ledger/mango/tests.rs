//! Queries with CouchDB's results, from its documentation and source.

use super::*;
use crate::ledger::version::Version;

fn values(documents: &[(&str, &str)]) -> Values {
    let mut values = Values::default();
    for (key, document) in documents {
        let value = Bytes::copy_from_slice(document.as_bytes());
        let value = VersionedValue { value, version: Version::new(1, 0), metadata: None };
        values.insert(Key::from(*key), Arc::new(value));
    }
    values
}

fn ask(documents: &[(&str, &str)], query: &str) -> Result<Vec<(String, String)>, String> {
    let query = Query::parse(query).map_err(|error| error.to_string())?;
    let answer = query.run(Some(&values(documents)), 100_000, "").map_err(|error| error.to_string())?;
    let text = |value: &VersionedValue| String::from_utf8(value.value.to_vec()).unwrap();
    Ok(answer.rows.iter().map(|(key, value)| (key.as_str().to_owned(), text(value))).collect())
}

fn keys(documents: &[(&str, &str)], query: &str) -> String {
    ask(documents, query).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" ")
}

const PEOPLE: [(&str, &str); 7] = [
    ("a", r#"{"name":"Ada","age":36,"tags":["math","code"],"home":{"city":"London","zip":["W1",7]}}"#),
    ("b", r#"{"name":"Bob","age":20,"tags":["code"],"home":{"city":"Berlin"},"dead":null}"#),
    ("c", r#"{"name":"cyd","age":36.5,"tags":[],"scores":[{"n":1},{"n":5}],"a.b":1}"#),
    ("d", r#"{"name":"Dan","age":"36","tags":"code","scores":[{"n":5},{"n":7}]}"#),
    ("e", r#"{"name":"Eve","age":-3,"tags":[["math","code"]],"points":{"x1":1,"y1":2}}"#),
    ("f", "not json"),
    ("g", "[1,2]"),
];

#[test]
fn operators_select_matching_documents() {
    for (selector, expected) in [
        ("{}", "a b c d e"),
        (r#"{"name":"Bob"}"#, "b"),
        (r#"{"name":{"$eq":"bob"}}"#, ""),
        (r#"{"age":36}"#, "a"),
        (r#"{"age":36.0}"#, "a"),
        (r#"{"age":{"$gt":20}}"#, "a c d"),
        (r#"{"age":{"$gte":20,"$lt":36.5}}"#, "a b"),
        (r#"{"age":{"$lte":20}}"#, "b e"),
        (r#"{"age":{"$ne":36}}"#, "b c d e"),
        (r#"{"dead":null}"#, "b"),
        (r#"{"dead":{"$ne":1}}"#, "b"),
        (r#"{"name":{"$gt":"a"}}"#, "a b c d e"),
        (r#"{"name":{"$lt":"Cz"}}"#, "a b c"),
        (r#"{"home.city":"London"}"#, "a"),
        (r#"{"home":{"city":"London"}}"#, "a"),
        (r#"{"home":{"city":{"$in":["London","Berlin"]}}}"#, "a b"),
        (r#"{"home.zip.1":7}"#, "a"),
        (r#"{"home.zip.2":{"$exists":false}}"#, "b c d e"),
        (r#"{"a\\.b":1}"#, "c"),
        (r#"{"home":{"$exists":false}}"#, "c d e"),
        (r#"{"home":{"$exists":true}}"#, "a b"),
        (r#"{"home.city":{"$exists":false}}"#, "c d e"),
        (r#"{"name.first":{"$exists":false}}"#, ""),
        (r#"{"age":{"$type":"number"}}"#, "a b c e"),
        (r#"{"dead":{"$type":"null"}}"#, "b"),
        (r#"{"tags":{"$type":"array"},"home":{"$type":"object"}}"#, "a b"),
        (r#"{"age":{"$in":[20,-3]}}"#, "b e"),
        (r#"{"tags":{"$in":["math","x"]}}"#, "a"),
        (r#"{"tags":{"$in":[]}}"#, ""),
        (r#"{"tags":{"$nin":["math"]}}"#, "b c d e"),
        (r#"{"tags":{"$nin":[]}}"#, "a b c d e"),
        (r#"{"home.city":{"$nin":["London"]}}"#, "b"),
        (r#"{"tags":{"$all":["code","math"]}}"#, "a"),
        (r#"{"tags":{"$all":[["math","code"]]}}"#, "a e"),
        (r#"{"tags":{"$all":[]}}"#, ""),
        (r#"{"tags":{"$size":0}}"#, "c"),
        (r#"{"tags":{"$size":2}}"#, "a"),
        (r#"{"age":{"$mod":[8,4]}}"#, "a b"),
        (r#"{"age":{"$mod":[2,-1]}}"#, "e"),
        (r#"{"name":{"$regex":"^[A-D]"}}"#, "a b d"),
        (r#"{"name":{"$regex":"(?i)^c"}}"#, "c"),
        (r#"{"name":{"$regex":"^(?!A)"}}"#, "b c d e"),
        (r#"{"name":{"$beginsWith":"D"}}"#, "d"),
        (r#"{"age":{"$beginsWith":"3"}}"#, "d"),
        (r#"{"tags":{"$elemMatch":{"$eq":"math"}}}"#, "a"),
        (r#"{"scores":{"$elemMatch":{"n":{"$lt":5}}}}"#, "c"),
        (r#"{"scores":{"$allMatch":{"n":{"$gte":5}}}}"#, "d"),
        (r#"{"tags":{"$allMatch":{"$type":"string"}}}"#, "a b"),
        (r#"{"points":{"$keyMapMatch":{"$regex":"^x"}}}"#, "e"),
        (r#"{"home":{"$keyMapMatch":{"$eq":"zip"}}}"#, "a"),
        (r#"{"_id":{"$gt":"b","$lt":"e"}}"#, "c d"),
        (r#"{"_id":{"$gt":"B"}}"#, "a b c d e"),
    ] {
        assert_eq!(keys(&PEOPLE, &format!(r#"{{"selector":{selector}}}"#)), expected, "{selector}");
    }
}

/// Random documents and selectors with the results of CouchDB 3.4.3. One selector is excluded:
/// CouchDB finds no keys between an array and a string before it looks at them.
#[test]
fn random_selectors_match_couchdb() {
    let run: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/mango-of-couchdb-3.4.json")).unwrap();
    let documents: Vec<(&str, String)> = run["documents"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, document)| (key.as_str(), document.to_string()))
        .collect();
    let documents: Vec<(&str, &str)> = documents.iter().map(|(key, document)| (*key, document.as_str())).collect();
    let mut differences = Vec::new();
    for entry in run["queries"].as_array().unwrap() {
        let query = serde_json::json!({ "selector": entry[0] }).to_string();
        let seen = match ask(&documents, &query) {
            Ok(rows) => rows.into_iter().map(|(key, _)| key).collect(),
            Err(text) => serde_json::json!(text),
        };
        let wanted = match entry[1].as_object() {
            Some(error) => {
                let refusal = (error["error"].as_str().unwrap(), error["reason"].as_str().unwrap());
                let status = if refusal.0 == "unknown_error" { 500 } else { 400 };
                let text = format!("Error:{},  Status Code:{status},  Reason:{}", refusal.0, refusal.1);
                serde_json::json!(format!("error handling CouchDB request. {text}"))
            }
            None => entry[1].clone(),
        };
        if seen != wanted {
            differences.push(format!("{query}\n  CouchDB {wanted}\n  here    {seen}"));
        }
    }
    for entry in run["sorted"].as_array().unwrap() {
        let query = serde_json::json!({ "selector": entry[0], "sort": entry[1] }).to_string();
        let seen: serde_json::Value = ask(&documents, &query).unwrap().into_iter().map(|(key, _)| key).collect();
        if seen != entry[2] {
            differences.push(format!("{query}\n  CouchDB {}\n  here    {seen}", entry[2]));
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn boolean_operators_combine_and_negate() {
    for (selector, expected) in [
        (r#"{"$and":[{"age":{"$gt":20}},{"tags":{"$all":["math"]}}]}"#, "a"),
        (r#"{"$or":[{"name":"Bob"},{"age":-3}]}"#, "b e"),
        // On their own they match nothing; combined with another condition, everything.
        (r#"{"$or":[]}"#, ""),
        (r#"{"$and":[]}"#, ""),
        (r#"{"$or":[{"$or":[]}]}"#, "a b c d e"),
        (r#"{"name":"Bob","$or":[]}"#, "b"),
        (r#"{"name":"Bob","$text":"x"}"#, "b"),
        (r#"{"$nor":[{"name":"Bob"},{"age":36}]}"#, "c d e"),
        (r#"{"$not":{"name":"Bob"}}"#, "a c d e"),
        (r#"{"age":{"$not":{"$gt":20}}}"#, "b e"),
        // Negated conditions require the field.
        (r#"{"$not":{"home.city":"London"}}"#, "b"),
        (r#"{"$nor":[{"home.city":"London"},{"home.city":"Berlin"}]}"#, ""),
        (r#"{"$not":{"home":{"$exists":true}}}"#, "c d e"),
        (r#"{"$not":{"$not":{"name":"Bob"}}}"#, "b"),
        (r#"{"$not":{"$or":[{"name":"Bob"},{"name":"Ada"}]}}"#, "c d e"),
        (r#"{"name":{"$or":[{"$eq":"Bob"},{"$regex":"^A"}]}}"#, "a b"),
        (r#"{"name":{"$not":{"$regex":"^[AB]"}}}"#, "c d e"),
        // Below a field negations are not moved, so a missing field does not match.
        (r#"{"scores":{"$elemMatch":{"$not":{"m":1}}}}"#, "c d"),
        (r#"{"scores":{"$elemMatch":{"$nor":[{"n":9}]}}}"#, ""),
        (r#"{"name":"Ada","age":20}"#, ""),
    ] {
        assert_eq!(keys(&PEOPLE, &format!(r#"{{"selector":{selector}}}"#)), expected, "{selector}");
    }
}

#[test]
fn results_are_sorted_skipped_and_projected() {
    assert_eq!(keys(&PEOPLE, r#"{"selector":{},"sort":["age"]}"#), "e b a c d");
    assert_eq!(keys(&PEOPLE, r#"{"selector":{},"sort":[{"age":"desc"}]}"#), "d c a b e");
    assert_eq!(keys(&PEOPLE, r#"{"selector":{},"sort":["home.city"]}"#), "b a");
    assert_eq!(keys(&PEOPLE, r#"{"selector":{},"sort":[{"_id":"desc"}]}"#), "e d c b a");
    assert_eq!(keys(&PEOPLE, r#"{"selector":{},"skip":3}"#), "d e");
    // The peer's limit replaces the query's.
    assert_eq!(keys(&PEOPLE, r#"{"selector":{},"limit":1,"use_index":["_design/x","y"]}"#), "a b c d e");

    let projected = ask(&PEOPLE, r#"{"selector":{"name":"Ada"},"fields":["home.city","age","none"]}"#).unwrap();
    assert_eq!(projected, [("a".to_owned(), r#"{"age":36,"home":{"city":"London"}}"#.to_owned())]);
    let whole = ask(&PEOPLE, r#"{"selector":{"name":"Bob"}}"#).unwrap();
    let expected = r#"{"age":20,"dead":null,"home":{"city":"Berlin"},"name":"Bob","tags":["code"]}"#;
    assert_eq!(whole, [("b".to_owned(), expected.to_owned())]);
}

#[test]
fn pages_are_contiguous_in_any_sort_order() {
    for (sort, expected) in [("[]", ["a b", "c d", "e", ""]), (r#"[{"age":"desc"}]"#, ["d c", "a b", "e", ""])] {
        let query = Query::parse(&format!(r#"{{"selector":{{}},"sort":{sort}}}"#)).unwrap();
        let mut bookmark = String::new();
        for page in expected {
            let answer = query.run(Some(&values(&PEOPLE)), 2, &bookmark).unwrap();
            let keys: Vec<_> = answer.rows.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys.join(" "), page, "sorted by {sort}");
            if page.is_empty() {
                assert_eq!(answer.bookmark, bookmark, "the bookmark stays after the last page");
            }
            bookmark = answer.bookmark;
        }
    }
    let nothing = Query::parse(r#"{"selector":{}}"#).unwrap().run(None, 2, "").unwrap();
    assert_eq!((nothing.rows.len(), nothing.bookmark.as_str()), (0, "nil"));
}

#[test]
fn results_beyond_the_internal_limit_need_several_requests() {
    let mut many = Values::default();
    for number in 0..2500 {
        let value = VersionedValue { value: Bytes::from_static(b"{}"), version: Version::new(1, 0), metadata: None };
        many.insert(Key::from(format!("{number:04}").as_str()), Arc::new(value));
    }
    let run = |query: &str| Query::parse(query).unwrap().run(Some(&many), 100_000, "").unwrap().rows;
    assert_eq!(run(r#"{"selector":{}}"#).len(), 2500);
    // The skip applies to each request.
    let skipped = run(r#"{"selector":{},"skip":10}"#);
    assert_eq!(skipped.len(), 2470);
    assert_eq!(skipped[1000].0.as_str(), "1020");
}

#[test]
fn invalid_queries_have_peer_and_couchdb_errors() {
    let couchdb = |error: &str, reason: &str| {
        format!("error handling CouchDB request. Error:{error},  Status Code:400,  Reason:{reason}")
    };
    for (query, text) in [
        ("", "EOF".to_owned()),
        (r#"{"selector":"#, "unexpected EOF".to_owned()),
        ("{x", "invalid character 'x' looking for beginning of value".to_owned()),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned()),
        (r#"{"selector":{},"fields":"a"}"#, "fields definition must be an array".to_owned()),
        ("{}", couchdb("missing_required_key", "Missing required key: selector")),
        (r#"{"selector":5}"#, couchdb("invalid_selector_json", "Selector must be a JSON object, not: 5")),
        (r#"{"selector":{"a":{"$foo":1}}}"#, couchdb("invalid_operator", "Invalid operator: $foo")),
        (r#"{"selector":{"a":{"$in":5}}}"#, couchdb("bad_arg", "Bad argument for operator $in: 5")),
        (r#"{"selector":{"a":{"$mod":[1.5,0]}}}"#, couchdb("bad_arg", "Bad argument for operator $mod: [1.5,0]")),
        (r#"{"selector":{"a":{"$regex":"("}}}"#, couchdb("bad_arg", "Bad argument for operator $regex: <<40>>")),
        (r#"{"selector":{"$where":"x"}}"#, couchdb("not_supported", "Unsupported operator: $where")),
        (r#"{"selector":{"$gt":1}}"#, couchdb("invalid_selector", "One or more conditions is missing a field name.")),
        (r#"{"selector":{"a":{"b..c":1}}}"#, couchdb("invalid_field_name", "Invalid field name: a.b..c")),
        (r#"{"selector":{"":1}}"#, couchdb("invalid_selector", "One or more conditions is missing a field name.")),
        (r#"{"selector":{"a":{"$beginsWith":1}}}"#, couchdb("invalid_operator", "Invalid operator: $beginsWith")),
        (
            r#"{"selector":{},"sort":[{"a":"up"}]}"#,
            couchdb("invalid_sort_field", r#"Invalid sort field: {[{<<"a">>,<<"up">>}]}"#),
        ),
        (r#"{"selector":{"a":{"$mod":[0,1]}}}"#, couchdb("unknown_error", "badarith").replace("400", "500")),
        (r#"{"selector":{},"sorted":1}"#, couchdb("invalid_key", "Invalid key sorted for this request.")),
        (
            r#"{"selector":{},"skip":-1}"#,
            couchdb("invalid_non_neg_integer", "-1 is not an integer greater than or equal to zero"),
        ),
        (
            r#"{"selector":{},"sort":[{"a":"asc"},{"b":"desc"}]}"#,
            couchdb("unsupported_mixed_sort", "Sorts currently only support a single direction for all fields."),
        ),
        (r#"{"selector":{},"bookmark":"nil"}"#, couchdb("invalid_bookmark", r#"Invalid bookmark value: "nil""#)),
    ] {
        assert_eq!(ask(&PEOPLE, query), Err(text), "{query}");
    }
}
