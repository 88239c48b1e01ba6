//! Go templates in the fields of connection.json, filled in from the JSON object that a peer has in
//! `CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG`. The engine is the crate `gotmpl`, a port of Go's
//! text/template; here it gets Go's view of JSON, `missingkey=error`, and limits, since a template
//! comes with a package and is no more trusted than the rest of it. What is left of differences to Go
//! is listed in docs/builder.md, and held by a test here. Knows no field by name.

mod format;
mod scope;
mod source;
mod tree;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gotmpl::parse::{ListNode, Node, Parser, SmolStr, TextNode};
use gotmpl::{MissingKey, Template, TemplateError, Value};

use crate::json;

/// The variable that holds the values, as in Fabric's own builder.
pub const VARIABLE: &str = "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG";

/// Longest template, in bytes: several times the largest certificate chain.
const MAX_TEMPLATE: usize = 64 * 1024;
/// Longest result, and most text that a template's functions may make on the way, in bytes.
const MAX_TEXT: usize = 1024 * 1024;
/// Longest format of one `printf`, in bytes; each of its verbs may be padded to 64 KiB.
const MAX_FORMAT: usize = 256;
/// Most rounds of all `range` loops of one template.
const MAX_ROUNDS: u64 = 100_000;
/// Longest time for one template. A real one takes microseconds.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Room for the deepest nesting that the engine takes.
const STACK: usize = 8 * 1024 * 1024;
/// The functions of text/template that make text out of text.
const MAKERS: [&str; 6] = ["print", "printf", "println", "html", "js", "urlquery"];

/// Why a template has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexpanded {
    /// The variable holds no JSON object; says what is wrong with it.
    #[error("{VARIABLE} {0}")]
    Values(String),
    /// The values have no such key, or the variable is not set.
    #[error("a template that asks for {0:?}, which {VARIABLE} does not have")]
    MissingKey(String),
    /// The template is wrong, with the engine's words.
    #[error("a template that fails: {0}")]
    Engine(String),
    /// The template is larger, or makes more, or takes longer, than any real one.
    #[error("a template over the limit of {0}")]
    Limit(&'static str),
}

/// Templates of one package on one peer.
#[derive(Clone, Debug)]
pub struct Templates {
    values: Result<Value, String>,
}

impl Templates {
    /// Takes the text of the variable; absent or empty, every key is missing.
    pub fn new(values: Option<&str>) -> Self {
        let values = match values.map(str::trim) {
            None | Some("" | "null") => Ok(Value::Map(Arc::default())),
            Some(text) => json::object(text.as_bytes()).map(|object| value(&serde_json::Value::Object(object))),
        };
        Self { values }
    }

    /// What is wrong with the variable, which matters only once a template needs it.
    pub fn problem(&self) -> Option<&str> {
        self.values.as_ref().err().map(String::as_str)
    }

    /// Fills in a text. One without `{{` is returned as it is.
    ///
    /// # Errors
    /// [`Unexpanded`], completing "found …".
    pub fn expand(&self, text: &str) -> Result<String, Unexpanded> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        if text.len() > MAX_TEMPLATE {
            return Err(Unexpanded::Limit("64 KiB of template"));
        }
        let values = self.values.clone().map_err(Unexpanded::Values)?;
        let text = text.to_owned();
        // In a thread of its own, because the engine has no bound on time: a template can call
        // itself twice at each of 200 levels.
        let (sender, receiver) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || sender.send(render(&text, &values)));
        if let Err(error) = &spawned {
            return Err(Unexpanded::Engine(format!("no thread for it: {error}")));
        }
        let failed = || Err(Unexpanded::Engine("the template engine failed".to_owned()));
        match (receiver.recv_timeout(MAX_TIME), spawned) {
            (Ok(result), Ok(thread)) => thread.join().map_or_else(|_| failed(), |_| result),
            (Err(mpsc::RecvTimeoutError::Timeout), _) => Err(Unexpanded::Limit("5 seconds")),
            _ => failed(),
        }
    }
}

fn render(text: &str, values: &Value) -> Result<String, Unexpanded> {
    let budget = Arc::new(AtomicUsize::new(MAX_TEXT));
    let mut template = Template::new("").missing_key(MissingKey::Error).max_range_iters(MAX_ROUNDS);
    for name in MAKERS {
        let budget = Arc::clone(&budget);
        template = template.func(name, move |arguments| within(&budget, name, arguments));
    }
    // Go's gives the value itself when nothing is looked up in it.
    template = template.func("index", |arguments| match arguments {
        [] | [Value::Nil, ..] => Err(exec("index of nothing")),
        [value, keys @ ..] => keys.iter().try_fold(value.clone(), |value, key| value.index(key)),
    });
    template = template.func(tree::LOOK_UP, tree::look_up).func(tree::WRITE, |arguments| {
        let value = arguments.first().unwrap_or(&Value::Nil);
        Ok(Value::String(format::of_action(value).into()))
    });
    template = template.func(scope::FAIL, |_| Err(exec("an assignment to a variable that was not declared")));
    for (name, tree) in parsed(text)? {
        template = template.add_parse_tree(&name, tree);
    }
    let mut result = Limited(String::new());
    template.execute_template_fmt(&mut result, "", values).map_err(explained)?;
    Ok(result.0)
}

/// The trees of a template that Go would take. The engine stops quietly at what it cannot place, so a
/// mark put after the text must come out as the last of what is not in any block.
fn parsed(text: &str) -> Result<Vec<(SmolStr, ListNode)>, Unexpanded> {
    const END: &str = "\u{0}end";
    let mut comment = "comment".to_owned();
    while text.contains(&comment) {
        comment.push('_');
    }
    let marked = source::prepared(text, &comment).map_err(Unexpanded::Engine)? + END;
    let (mut tree, mut defined) = Parser::new(&marked, "{{", "}}").and_then(Parser::parse).map_err(explained)?;
    match tree.nodes.pop() {
        Some(Node::Text(TextNode { pos, text })) if text.ends_with(END) => {
            let text = text.trim_end_matches(END).into();
            tree.nodes.push(Node::Text(TextNode { pos, text }));
        }
        _ => return Err(Unexpanded::Engine("a block is not closed, or an end is one too many".to_owned())),
    }
    for body in std::iter::once(&mut tree).chain(defined.iter_mut().map(|definition| &mut definition.body)) {
        scope::check(body).map_err(Unexpanded::Engine)?;
    }
    tree::named(tree, defined, &comment).map_err(Unexpanded::Engine)
}

/// What Go's function of that name makes, within what is left of the budget.
fn within(budget: &AtomicUsize, name: &str, arguments: &[Value]) -> gotmpl::Result<Value> {
    let over = || TemplateError::Exec(OVER_TEXT.to_owned());
    spend(budget, arguments.iter().map(size).sum()).ok_or_else(over)?;
    let escaped = |call: &str| engine(call, &[Value::String(format::to_escape(arguments).into())]);
    let made = match name {
        "print" => format::print(arguments),
        "println" => format::println(arguments),
        "html" => escaped("{{html (index . 0)}}")?,
        "js" => escaped("{{js (index . 0)}}")?,
        "urlquery" => escaped("{{urlquery (index . 0)}}")?,
        _ => {
            let (format, values) = arguments.split_first().ok_or_else(|| exec("printf of nothing"))?;
            let format = format.as_str().ok_or_else(|| exec("the format of a printf that is no string"))?;
            if format.len() > MAX_FORMAT {
                return Err(exec(OVER_FORMAT));
            }
            let one = |format: &str, value: &Value| {
                let call = [Value::String(format.into()), value.clone()];
                engine("{{printf (index . 0) (index . 1)}}", &call).unwrap_or_default()
            };
            let left = budget.load(Ordering::Relaxed);
            format::printf(format, values, left, &one).map_err(|format::TooLong| over())?
        }
    };
    spend(budget, made.len()).ok_or_else(over)?;
    Ok(Value::String(made.into()))
}

/// A call of the engine's own function.
fn engine(call: &str, arguments: &[Value]) -> gotmpl::Result<String> {
    Template::new("").parse(call)?.execute_to_string(&Value::List(arguments.into()))
}

fn exec(problem: &str) -> TemplateError {
    TemplateError::Exec(problem.to_owned())
}

const OVER_TEXT: &str = "limit of text";
const OVER_FORMAT: &str = "limit of format";

fn spend(budget: &AtomicUsize, cost: usize) -> Option<()> {
    let spent = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
    spent.ok().map(|_| ())
}

/// About how much text a value becomes, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(list) => list.iter().map(size).sum::<usize>() + 16,
        Value::Map(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>() + 16,
        _ => 32,
    }
}

fn explained(error: TemplateError) -> Unexpanded {
    match error {
        TemplateError::MissingKey { key } => Unexpanded::MissingKey(key),
        TemplateError::RangeIterLimit => Unexpanded::Limit("100,000 rounds of range"),
        TemplateError::Write => Unexpanded::Limit("1 MiB of text"),
        TemplateError::Exec(text) if text == OVER_TEXT => Unexpanded::Limit("1 MiB of text"),
        TemplateError::Exec(text) if text == OVER_FORMAT => Unexpanded::Limit("256 bytes for a printf format"),
        other => Unexpanded::Engine(other.to_string()),
    }
}

/// JSON as Go's `map[string]interface{}` holds it: every number is a float64.
fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(object) => {
            let entries = object.iter().map(|(key, item)| (key.as_str().into(), value(item)));
            Value::Map(Arc::new(entries.collect()))
        }
    }
}

/// A result that stops growing.
struct Limited(String);

impl fmt::Write for Limited {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() > MAX_TEXT {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    const VALUES: &str = r#"{"host":"cc","port":9999,"big":1000000,"on":true,"none":null,
        "peers":["a","b"],"nums":[1,1e7,null],"tls":{"root":"R"}}"#;

    fn expand(text: &str) -> Result<String, Unexpanded> {
        Templates::new(Some(VALUES)).expand(text)
    }

    /// Expected results are those of Go 1.24's text/template over `encoding/json`.
    #[test]
    fn expands_as_go_does() {
        for (text, expected) in [
            ("plain {", "plain {"),
            ("{{.host}}:{{.port}}", "cc:9999"),
            ("{{.none}}", "<no value>"),
            (r#"{{if eq .host "x"}}1{{else if ne .host "y"}}2{{else}}3{{end}}"#, "2"),
            ("{{range $i, $p := .peers}}{{$i}}{{$p}}{{end}}", "0a1b"),
            ("{{with .tls}}{{.root}}{{$.host}}{{end}}", "Rcc"),
            (r#"{{$n := printf "%s-%v" .host .port}}{{$n | len}} {{$n}}"#, "7 cc-9999"),
            (r#"{{index .peers 1}}{{index .tls "root"}}{{len .peers}}"#, "bR2"),
            (r#"{{and .on .host}}{{or .none "d"}}{{not .on}}"#, "ccdfalse"),
            ("a {{- /* c */ -}} b", "ab"),
            (r#"{{define "t"}}<{{.}}>{{end}}{{template "t" .host}}"#, "<cc>"),
            (r#"{{html "<"}}{{urlquery "a b"}}{{println "x" 1}}"#, "&lt;a+bx 1\n"),
            (r#"{{urlquery}}{{js "a'" 1 2}}"#, r"a\'1 2"),
            ("{{index .host}}{{(index .peers 0) | index}}", "cca"),
            ("{{$x := 1}}{{if .on}}{{$x = 2}}{{$y := 3}}{{else}}{{$x}}{{end}}{{$x}}", "2"),
            ("{{range $i, $p := .peers}}{{if $i}}{{break}}{{end}}{{$p}}{{else}}{{$i}}{{end}}", "a"),
            (r#"{{if and .on (not .none)}}{{block "b" .tls}}{{.root}}{{end}}{{end}}"#, "R"),
            ("{{.big}} {{.port}} {{print .big 1}}{{html .big}}", "1e+06 9999 1e+06 11e+06"),
            (r#"{{printf "%d %s" .port .host}}"#, "%!d(float64=9999) cc"),
            ("a {{- /* c */}} b {{/* c */ -}} d", "a b d"),
            ("{{if .host}}{{/* c */}}{{else}}{{end}}x", "x"),
            ("{{if not .on}}{{$x = 1}}{{end}}ok", "ok"),
            (r#"{{define "t"}}1{{end}}{{define "t"}} {{/* c */}}{{end}}{{template "t"}}"#, "1"),
            ("{{range .peers}}{{$.tls.root}}{{end}}{{(index .peers 0)}}", "RRa"),
            ("{{len .peers}}{{.nums}}{{.tls}}", "2[1 1e+07 <nil>]map[root:R]"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn fails_as_go_does() {
        assert_eq!(expand("{{.nothing}}"), Err(Unexpanded::MissingKey("nothing".into())));
        for text in [
            "{{.host",
            "{{frob}}",
            "{{end}}",
            "{{if .on}}x",
            "{{if .on}}x{{end}}{{end}}y",
            "{{else}}",
            r#"{{define "a"}}x"#,
            "{{eq .port 9999}}",
            "{{index .peers 7}}",
            "{{.host.x}}",
            "{{index}}",
            "{{if not .on}}{{$x}}{{end}}",
            "{{if not .on}}{{frob}}{{end}}",
            "{{if .on}}{{$x := 1}}{{end}}{{$x}}",
            "{{with $x := .host}}{{end}}{{$x}}",
            r#"{{$x := 1}}{{define "t"}}{{$x}}{{end}}"#,
            "{{if not .on}}{{(print $x).y}}{{end}}",
            "{{if not .on}}{{break}}{{end}}",
            "{{.none.x}}",
            "{{$x := .none}}{{$x.y}}",
            "{{range .nums}}{{.x}}{{end}}",
            "{{ /* c */}}",
            "{{/* c */ }}",
            r#"{{if .on}}{{define "t"}}{{end}}{{end}}"#,
            r#"{{define "t"}}1{{end}}{{define "t"}}2{{end}}"#,
            "{{$x = 1}}",
            "{{index .none}}",
            "{{if .on}}{{else}}{{else}}{{end}}",
            r#"{{template "t"}}"#,
        ] {
            assert!(matches!(expand(text), Err(Unexpanded::Engine(_))), "{text}: {:?}", expand(text));
        }
        let unset = Templates::new(None).expand("{{.host}}");
        assert_eq!(unset, Err(Unexpanded::MissingKey("host".into())));
        let malformed = Templates::new(Some("[1]"));
        assert!(matches!(malformed.expand("{{.a}}"), Err(Unexpanded::Values(_))));
        assert_eq!(malformed.expand("literal").as_deref(), Ok("literal"));
    }

    /// Go's results stand beside; docs/builder.md lists these differences. One that is gone goes
    /// from there, too.
    #[test]
    fn known_differences_to_go() {
        for (text, here, _go) in [
            (r#"{{printf "%x" .port}}"#, "%!x(float64=9999)", "0x1.3878p+13"),
            (r#"{{printf "%b" .port}}"#, "%!b(float64=9999)", "5496851580715008p-39"),
            (r#"{{printf "%#g" .port}}"#, "9999", "9999.00"),
            (r#"{{printf "%p" .peers}}"#, "[%!p(string=a) %!p(string=b)]", "an address"),
            (r#"{{printf "%q" 7}}"#, r"'\u{7}'", r"'\a'"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(here), "{text}");
        }
    }

    #[test]
    fn limits_hold() {
        let doubling = format!(r#"{{{{$x := "ab"}}}}{}"#, r#"{{$x = printf "%s%s" $x $x}}"#.repeat(60));
        assert_eq!(expand(&doubling), Err(Unexpanded::Limit("1 MiB of text")));
        assert_eq!(expand("{{range 200000}}{{end}}"), Err(Unexpanded::Limit("100,000 rounds of range")));
        let wide = r#"{{$x := printf "%60000v" .host}}"#.repeat(20);
        assert_eq!(expand(&wide), Err(Unexpanded::Limit("1 MiB of text")));
        let padded = format!(r#"{{{{printf "{}" 1}}}}"#, "%[1]60000d".repeat(500));
        assert_eq!(expand(&padded), Err(Unexpanded::Limit("256 bytes for a printf format")));
        assert_eq!(expand(&"{{.host}}".repeat(9000)), Err(Unexpanded::Limit("64 KiB of template")));
        let nested = "{{if .on}}".repeat(3000);
        assert!(expand(&nested).is_err());
    }

    #[test]
    fn a_template_that_never_ends_is_given_up() {
        let mut text = String::from(r#"{{define "t40"}}{{end}}"#);
        for level in 0..40 {
            let next = level + 1;
            let call = format!(r#"{{{{template "t{next}"}}}}"#);
            write!(text, r#"{{{{define "t{level}"}}}}{call}{call}{{{{end}}}}"#).unwrap();
        }
        text.push_str(r#"{{template "t0"}}"#);
        assert_eq!(expand(&text), Err(Unexpanded::Limit("5 seconds")));
    }

    proptest! {
        #[test]
        fn no_template_panics(text in r#"(\{\{|\}\}|\.|host|range|if |end|eq |"|\$x|:=|\(|\)|-|[ -~]){0,24}"#) {
            let _ = expand(&text);
        }
    }
}
