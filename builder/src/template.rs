//! Go templates in connection.json, expanded with the JSON object in
//! `CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG`. The engine is the crate `gotmpl`, a port of Go's
//! text/template. This module adds Go's view of JSON, `missingkey=error`, and limits, since templates are
//! untrusted. docs/builder.md lists the remaining differences to Go, and a test checks them.

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
use gotmpl::{MissingKey, Template, TemplateError as EngineError, Value};

use crate::json;

/// The variable with the values, as in Fabric's builder.
pub const VARIABLE: &str = "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG";

/// Size limit of a template, in bytes: several times the largest certificate chain.
const MAX_TEMPLATE: usize = 64 * 1024;
/// Size limit of the result, and of the text that all function calls produce, in bytes.
const MAX_TEXT: usize = 1024 * 1024;
/// Size limit of a `printf` format, in bytes; each verb can be padded to 64 KiB.
const MAX_FORMAT: usize = 256;
/// Limit on iterations of all `range` loops of a template.
const MAX_ITERATIONS: u64 = 100_000;
/// Time limit of a template. A real one takes microseconds.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Stack size for the deepest nesting that the engine allows.
const STACK: usize = 8 * 1024 * 1024;
/// The functions of text/template that produce text.
const TEXT_FUNCTIONS: [&str; 6] = ["print", "printf", "println", "html", "js", "urlquery"];

/// Why a template was not expanded; the text says what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The variable does not contain a JSON object but this.
    #[error("{VARIABLE} with {0}")]
    Values(String),
    /// The values do not have this key, or the variable is not set.
    #[error("a template with the key {0:?}, which is missing in {VARIABLE}")]
    MissingKey(String),
    /// The template is invalid or its execution failed.
    #[error("an invalid template: {0}")]
    Engine(String),
    /// The template exceeds this limit.
    #[error("a template that exceeds the limit of {0}")]
    Limit(&'static str),
}

/// Expands templates with the values of a peer.
///
/// ```
/// use ccaas_builder::template::Templates;
///
/// let templates = Templates::new(Some(r#"{"org":"org1"}"#));
/// assert_eq!(templates.expand("basic.{{.org}}:9999").unwrap(), "basic.org1:9999");
/// ```
#[derive(Clone, Debug)]
pub struct Templates {
    values: Result<Value, String>,
}

impl Templates {
    /// Parses the text of the variable. Without a text there are no keys.
    pub fn new(values: Option<&str>) -> Self {
        let values = match values.map(str::trim) {
            None | Some("" | "null") => Ok(Value::Map(Arc::default())),
            Some(text) => json::object(text.as_bytes()).map(|object| value(&serde_json::Value::Object(object))),
        };
        Self { values }
    }

    /// What the variable contains instead of a JSON object.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.values.as_ref().err().map(String::as_str)
    }

    /// Expands a template. A text without `{{` is returned unchanged.
    ///
    /// # Errors
    /// [`TemplateError`] if the template or the values are invalid, or a limit is exceeded.
    pub fn expand(&self, text: &str) -> Result<String, TemplateError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        if text.len() > MAX_TEMPLATE {
            return Err(TemplateError::Limit("64 KiB per template"));
        }
        let values = self.values.clone().map_err(TemplateError::Values)?;
        let text = text.to_owned();
        // In a thread, because the engine has no time limit: a template can call itself twice at each
        // of 200 levels.
        let (sender, receiver) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || sender.send(render(&text, &values)));
        if let Err(error) = &spawned {
            return Err(TemplateError::Engine(format!("cannot start a thread: {error}")));
        }
        let failed = || Err(TemplateError::Engine("the template engine failed".to_owned()));
        match (receiver.recv_timeout(MAX_TIME), spawned) {
            (Ok(result), Ok(thread)) => thread.join().map_or_else(|_| failed(), |_| result),
            (Err(mpsc::RecvTimeoutError::Timeout), _) => Err(TemplateError::Limit("5 seconds")),
            _ => failed(),
        }
    }
}

fn render(text: &str, values: &Value) -> Result<String, TemplateError> {
    let budget = Arc::new(AtomicUsize::new(MAX_TEXT));
    let mut template = Template::new("").missing_key(MissingKey::Error).max_range_iters(MAX_ITERATIONS);
    for name in TEXT_FUNCTIONS {
        let budget = Arc::clone(&budget);
        template = template.func(name, move |arguments| call_text_function(&budget, name, arguments));
    }
    // Go returns the value itself if there are no keys.
    template = template.func("index", |arguments| match arguments {
        [] | [Value::Nil, ..] => Err(exec("index without a value")),
        [value, keys @ ..] => keys.iter().try_fold(value.clone(), |value, key| value.index(key)),
    });
    template = template.func(tree::LOOK_UP, tree::look_up).func(tree::WRITE, |arguments| {
        let value = arguments.first().unwrap_or(&Value::Nil);
        Ok(Value::String(format::action(value).into()))
    });
    template = template.func(scope::FAIL, |_| Err(exec("assignment to an undeclared variable")));
    for (name, tree) in parsed(text)? {
        template = template.add_parse_tree(&name, tree);
    }
    let mut result = Limited(String::new());
    template.execute_template_fmt(&mut result, "", values).map_err(convert)?;
    Ok(result.0)
}

/// Parses a template with Go's rules. The engine silently stops at an unexpected `end` or `else`, so a
/// marker is appended, which must be the last node outside all blocks.
fn parsed(text: &str) -> Result<Vec<(SmolStr, ListNode)>, TemplateError> {
    const END: &str = "\u{0}end";
    let mut comment = "comment".to_owned();
    while text.contains(&comment) {
        comment.push('_');
    }
    let marked = source::prepare(text, &comment).map_err(TemplateError::Engine)? + END;
    let (mut tree, mut defined) = Parser::new(&marked, "{{", "}}").and_then(Parser::parse).map_err(convert)?;
    match tree.nodes.pop() {
        Some(Node::Text(TextNode { pos, text })) if text.ends_with(END) => {
            let text = text.trim_end_matches(END).into();
            tree.nodes.push(Node::Text(TextNode { pos, text }));
        }
        _ => return Err(TemplateError::Engine("an unclosed block or an unexpected end".to_owned())),
    }
    for body in std::iter::once(&mut tree).chain(defined.iter_mut().map(|definition| &mut definition.body)) {
        scope::check(body).map_err(TemplateError::Engine)?;
    }
    tree::named(tree, defined, &comment).map_err(TemplateError::Engine)
}

/// Calls a text function as Go does, within the remaining budget.
fn call_text_function(budget: &AtomicUsize, name: &str, arguments: &[Value]) -> gotmpl::Result<Value> {
    let over = || EngineError::Exec(OVER_TEXT.to_owned());
    spend(budget, arguments.iter().map(size).sum()).ok_or_else(over)?;
    let escaped = |call: &str| call_engine(call, &[Value::String(format::to_escape(arguments).into())]);
    let text = match name {
        "print" => format::print(arguments),
        "println" => format::println(arguments),
        "html" => escaped("{{html (index . 0)}}")?,
        "js" => escaped("{{js (index . 0)}}")?,
        "urlquery" => escaped("{{urlquery (index . 0)}}")?,
        _ => {
            let (format, values) = arguments.split_first().ok_or_else(|| exec("printf without a format"))?;
            let format = format.as_str().ok_or_else(|| exec("printf with a format that is not a string"))?;
            if format.len() > MAX_FORMAT {
                return Err(exec(OVER_FORMAT));
            }
            let one = |format: &str, value: &Value| {
                let call = [Value::String(format.into()), value.clone()];
                call_engine("{{printf (index . 0) (index . 1)}}", &call).unwrap_or_default()
            };
            let left = budget.load(Ordering::Relaxed);
            format::printf(format, values, left, &one).map_err(|format::TooLong| over())?
        }
    };
    spend(budget, text.len()).ok_or_else(over)?;
    Ok(Value::String(text.into()))
}

/// Executes a template with the engine's built-in functions.
fn call_engine(call: &str, arguments: &[Value]) -> gotmpl::Result<String> {
    Template::new("").parse(call)?.execute_to_string(&Value::List(arguments.into()))
}

fn exec(problem: &str) -> EngineError {
    EngineError::Exec(problem.to_owned())
}

const OVER_TEXT: &str = "limit of text";
const OVER_FORMAT: &str = "limit of format";

fn spend(budget: &AtomicUsize, cost: usize) -> Option<()> {
    let spent = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
    spent.ok().map(|_| ())
}

/// The approximate size of a value as text, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(list) => list.iter().map(size).sum::<usize>() + 16,
        Value::Map(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>() + 16,
        _ => 32,
    }
}

fn convert(error: EngineError) -> TemplateError {
    match error {
        EngineError::MissingKey { key } => TemplateError::MissingKey(key),
        EngineError::RangeIterLimit => TemplateError::Limit("100,000 iterations of range"),
        EngineError::Write => TemplateError::Limit("1 MiB of text"),
        EngineError::Exec(text) if text == OVER_TEXT => TemplateError::Limit("1 MiB of text"),
        EngineError::Exec(text) if text == OVER_FORMAT => TemplateError::Limit("256 bytes for a printf format"),
        other => TemplateError::Engine(other.to_string()),
    }
}

/// Converts JSON as Go does for `map[string]interface{}`: every number becomes a float64.
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

/// A result with a size limit.
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

    fn expand(text: &str) -> Result<String, TemplateError> {
        Templates::new(Some(VALUES)).expand(text)
    }

    /// Expected results are those of Go 1.24's text/template over `encoding/json`.
    #[test]
    fn expands_as_in_go() {
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
    fn fails_as_in_go() {
        assert_eq!(expand("{{.nothing}}"), Err(TemplateError::MissingKey("nothing".into())));
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
            assert!(matches!(expand(text), Err(TemplateError::Engine(_))), "{text}: {:?}", expand(text));
        }
        let unset = Templates::new(None).expand("{{.host}}");
        assert_eq!(unset, Err(TemplateError::MissingKey("host".into())));
        let malformed = Templates::new(Some("[1]"));
        assert!(matches!(malformed.expand("{{.a}}"), Err(TemplateError::Values(_))));
        assert_eq!(malformed.expand("literal").as_deref(), Ok("literal"));
    }

    /// Each with Go's result. docs/builder.md lists the same differences.
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
    fn limits_are_enforced() {
        let doubling = format!(r#"{{{{$x := "ab"}}}}{}"#, r#"{{$x = printf "%s%s" $x $x}}"#.repeat(60));
        assert_eq!(expand(&doubling), Err(TemplateError::Limit("1 MiB of text")));
        assert_eq!(expand("{{range 200000}}{{end}}"), Err(TemplateError::Limit("100,000 iterations of range")));
        let wide = r#"{{$x := printf "%60000v" .host}}"#.repeat(20);
        assert_eq!(expand(&wide), Err(TemplateError::Limit("1 MiB of text")));
        let padded = format!(r#"{{{{printf "{}" 1}}}}"#, "%[1]60000d".repeat(500));
        assert_eq!(expand(&padded), Err(TemplateError::Limit("256 bytes for a printf format")));
        assert_eq!(expand(&"{{.host}}".repeat(9000)), Err(TemplateError::Limit("64 KiB per template")));
        let nested = "{{if .on}}".repeat(3000);
        assert!(expand(&nested).is_err());
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let mut text = String::from(r#"{{define "t40"}}{{end}}"#);
        for level in 0..40 {
            let next = level + 1;
            let call = format!(r#"{{{{template "t{next}"}}}}"#);
            write!(text, r#"{{{{define "t{level}"}}}}{call}{call}{{{{end}}}}"#).unwrap();
        }
        text.push_str(r#"{{template "t0"}}"#);
        assert_eq!(expand(&text), Err(TemplateError::Limit("5 seconds")));
    }

    proptest! {
        #[test]
        fn no_template_panics(text in r#"(\{\{|\}\}|\.|host|range|if |end|eq |"|\$x|:=|\(|\)|-|[ -~]){0,24}"#) {
            let _ = expand(&text);
        }
    }
}
