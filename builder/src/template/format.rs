//! Formats values as Go's `fmt` does: the values of JSON (float64, string, bool, nil, `[]interface {}`,
//! `map[string]interface {}`), and the ints of templates. The engine formats what it does as Go does.

use gotmpl::Value;

/// The text exceeds its size limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Go's limit on width and precision.
const MAX_NUMBER: usize = 1_000_000;

/// Formats the value of `{{value}}`.
pub(super) fn action(value: &Value) -> String {
    if matches!(value, Value::Nil) { "<no value>".to_owned() } else { plain(value) }
}

/// `print`: adds spaces only between two values that are not strings.
pub(super) fn print(values: &[Value]) -> String {
    let mut text = String::new();
    for (number, value) in values.iter().enumerate() {
        let is_string = |value: &Value| matches!(value, Value::String(_));
        if number > 0 && !is_string(value) && !is_string(&values[number - 1]) {
            text.push(' ');
        }
        text.push_str(&plain(value));
    }
    text
}

/// `println`.
pub(super) fn println(values: &[Value]) -> String {
    values.iter().map(plain).collect::<Vec<_>>().join(" ") + "\n"
}

/// The text that `html`, `js` and `urlquery` escape.
pub(super) fn to_escape(values: &[Value]) -> String {
    let shown = |value: &Value| match value {
        Value::Nil => Value::String("<no value>".into()),
        other => other.clone(),
    };
    print(&values.iter().map(shown).collect::<Vec<_>>())
}

/// Formats a value like `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Float(number) => float(*number),
        Value::List(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| format!("{key}:{}", plain(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// The shortest text of a number, with an exponent below 1e-4 and from 1e6.
fn float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() { "NaN".to_owned() } else { format!("{}Inf", if number > 0.0 { '+' } else { '-' }) };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or_default() {
        -4..6 => number.to_string(),
        exponent => format!("{digits}e{exponent:+03}"),
    }
}

/// One directive of a format.
#[allow(clippy::struct_excessive_bools, reason = "each is one of Go's flags")]
#[derive(Clone, Copy, Default)]
struct Directive {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`: Go syntax.
    syntax: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `printf`. `engine` formats one value with a verb that supports its type.
///
/// # Errors
/// If the text becomes longer than `limit` bytes.
pub(super) fn printf(
    format: &str,
    values: &[Value],
    limit: usize,
    engine: &dyn Fn(&str, &Value) -> String,
) -> Result<String, TooLong> {
    let mut printer = Printer { values, next: 0, reordered: false, text: String::new(), limit, engine };
    let mut rest = format;
    while let Some((before, directive)) = rest.split_once('%') {
        printer.text.push_str(before);
        rest = printer.directive(directive)?;
        printer.check_limit()?;
    }
    printer.text.push_str(rest);
    printer.extra()?;
    Ok(printer.text)
}

struct Printer<'a> {
    values: &'a [Value],
    next: usize,
    /// An explicit index was used, so extra values are not reported.
    reordered: bool,
    text: String,
    limit: usize,
    engine: &'a dyn Fn(&str, &Value) -> String,
}

impl Printer<'_> {
    fn check_limit(&self) -> Result<(), TooLong> {
        if self.text.len() > self.limit { Err(TooLong) } else { Ok(()) }
    }

    /// Formats one directive; returns the rest of the format.
    fn directive<'f>(&mut self, format: &'f str) -> Result<&'f str, TooLong> {
        let mut rest = format;
        let mut directive = Directive::default();
        while let Some(flag) = rest.chars().next() {
            match flag {
                '#' => directive.sharp = true,
                '0' => directive.zero = true,
                '+' => directive.plus = true,
                '-' => directive.minus = true,
                ' ' => directive.space = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let mut good = true;
        let mut indexed = self.index(&mut rest, &mut good);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            match self.star() {
                Some(width) => {
                    directive.minus |= width < 0;
                    directive.width = Some(usize::try_from(width.unsigned_abs()).unwrap_or_default());
                }
                None => self.text.push_str("%!(BADWIDTH)"),
            }
            indexed = false;
        } else {
            directive.width = number(&mut rest);
            good &= !(indexed && directive.width.is_some());
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            good &= !indexed;
            indexed = self.index(&mut rest, &mut good);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                match self.star() {
                    Some(precision @ 0..) => directive.precision = usize::try_from(precision).ok(),
                    _ => self.text.push_str("%!(BADPREC)"),
                }
                indexed = false;
            } else {
                directive.precision = Some(number(&mut rest).unwrap_or_default());
            }
        }
        if !indexed {
            self.index(&mut rest, &mut good);
        }
        let Some(verb) = rest.chars().next() else {
            self.text.push_str("%!(NOVERB)");
            return Ok(rest);
        };
        self.verb(verb, directive, good)?;
        Ok(&rest[verb.len_utf8()..])
    }

    fn verb(&mut self, verb: char, mut directive: Directive, good: bool) -> Result<(), TooLong> {
        if verb == 'v' {
            directive = Directive { syntax: directive.sharp, sharp: false, plus: false, ..directive };
        }
        match (verb, good, self.values.get(self.next)) {
            ('%', ..) => self.text.push('%'),
            (_, false, _) => self.text.extend(["%!", verb.encode_utf8(&mut [0; 4]), "(BADINDEX)"]),
            (_, _, None) => self.text.extend(["%!", verb.encode_utf8(&mut [0; 4]), "(MISSING)"]),
            (_, _, Some(value)) => {
                self.next += 1;
                self.value(&directive, verb, value, true)?;
            }
        }
        Ok(())
    }

    /// Consumes an index such as `[2]`; returns whether there was one.
    fn index(&mut self, rest: &mut &str, good: &mut bool) -> bool {
        let Some(inner) = rest.strip_prefix('[') else { return false };
        self.reordered = true;
        let Some((index, after)) = inner.split_once(']') else {
            *rest = inner;
            *good = false;
            return false;
        };
        *rest = after;
        let mut digits = index;
        let index = number(&mut digits).filter(|index| *index > 0 && digits.is_empty());
        match index.filter(|index| *index <= self.values.len()) {
            Some(index) => self.next = index - 1,
            None => *good = false,
        }
        index.is_some()
    }

    /// Consumes an int value for `*`.
    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let number = if matches!(value, Value::Float(_)) { None } else { value.as_int() };
        number.filter(|number| number.unsigned_abs() <= MAX_NUMBER as u64)
    }

    fn value(&mut self, directive: &Directive, verb: char, value: &Value, outermost: bool) -> Result<(), TooLong> {
        match (verb, value) {
            ('T', _) if outermost => {
                let most = directive.precision.filter(|_| !matches!(value, Value::Nil)).unwrap_or(usize::MAX);
                self.padded(directive, &type_of(value).chars().take(most).collect::<String>());
            }
            ('v', Value::Nil) if outermost => self.padded(directive, "<nil>"),
            (_, Value::Nil) if !outermost => {
                self.text.push_str(if directive.syntax { "interface {}(nil)" } else { "<nil>" });
            }
            (_, Value::List(items)) => {
                self.text.push_str(if directive.syntax { "[]interface {}{" } else { "[" });
                for (number, item) in items.iter().enumerate() {
                    self.separator(number, directive);
                    self.value(directive, verb, item, false)?;
                }
                self.text.push(if directive.syntax { '}' } else { ']' });
            }
            (_, Value::Map(map)) => {
                self.text.push_str(if directive.syntax { "map[string]interface {}{" } else { "map[" });
                for (number, (key, item)) in map.iter().enumerate() {
                    self.separator(number, directive);
                    self.value(directive, verb, &Value::String(key.clone()), false)?;
                    self.text.push(':');
                    self.value(directive, verb, item, false)?;
                }
                self.text.push(if directive.syntax { '}' } else { ']' });
            }
            ('v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X', Value::Int(number)) => self.integer(directive, verb, *number),
            ('v', Value::Float(number)) if directive.precision.is_none() => self.float(directive, float(*number)),
            ('g' | 'G', Value::Float(number)) if directive.precision.is_none() && !directive.sharp => {
                let text = float(*number);
                self.float(directive, if verb == 'G' { text.to_uppercase() } else { text });
            }
            _ if supports(verb, value) => self.engine(directive, verb, value),
            _ => {
                self.text.extend(["%!", verb.encode_utf8(&mut [0; 4]), "("]);
                if !matches!(value, Value::Nil) {
                    self.text.extend([type_of(value), "="]);
                }
                self.value(directive, 'v', value, false)?;
                self.text.push(')');
            }
        }
        self.check_limit()
    }

    fn separator(&mut self, number: usize, directive: &Directive) {
        if number > 0 {
            self.text.push_str(if directive.syntax { ", " } else { " " });
        }
    }

    /// A precision, or a width with zero padding, is the minimum number of digits.
    fn integer(&mut self, directive: &Directive, verb: char, number: i64) {
        let value = number.unsigned_abs();
        let (digits, prefix) = match verb {
            'b' => (format!("{value:b}"), "0b"),
            'o' => (format!("{value:o}"), "0"),
            'O' => (format!("{value:o}"), ""),
            'x' => (format!("{value:x}"), "0x"),
            'X' => (format!("{value:X}"), "0X"),
            _ => (value.to_string(), ""),
        };
        let sign = match (number < 0, directive.plus, directive.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let fill =
            directive.width.filter(|_| directive.zero && !directive.minus).map(|width| width - sign.len().min(width));
        let least = directive.precision.or(fill).unwrap_or(1).min(self.limit + 1);
        let mut text = if value == 0 && directive.precision == Some(0) { String::new() } else { digits };
        if !text.is_empty() {
            text.insert_str(0, &"0".repeat(least.saturating_sub(text.len())));
            if directive.sharp && !(verb == 'o' && text.starts_with('0')) {
                text.insert_str(0, prefix);
            }
            text.insert_str(0, if verb == 'O' { "0o" } else { "" });
            text.insert_str(0, sign);
        }
        self.padded(&Directive { zero: false, ..*directive }, &text);
    }

    /// Zero padding goes between sign and digits.
    fn float(&mut self, directive: &Directive, mut text: String) {
        if !text.starts_with(['-', '+']) && (directive.plus || directive.space) {
            text.insert(0, if directive.plus { '+' } else { ' ' });
        }
        let missing = directive.width.unwrap_or_default().saturating_sub(text.len());
        if directive.zero && !directive.minus {
            let sign = usize::from(text.starts_with(['-', '+', ' ']));
            text.insert_str(sign, &"0".repeat(missing));
        }
        self.padded(&Directive { zero: false, ..*directive }, &text);
    }

    fn engine(&mut self, directive: &Directive, verb: char, value: &Value) {
        let (verb, flags) = match (verb, value) {
            ('v', Value::String(_)) if directive.syntax => ('q', [false; 3]),
            ('v', Value::String(_)) => ('s', [false; 3]),
            ('v', Value::Bool(_)) => ('t', [false; 3]),
            ('v', Value::Float(_)) => ('g', [false; 3]),
            ('F', _) => ('f', [false; 3]),
            (verb, Value::Float(_)) => (verb, [false; 3]),
            (verb, _) => (verb, [directive.plus, directive.sharp, directive.space]),
        };
        let mut format = String::from("%");
        format.extend(flags.into_iter().zip(['+', '#', ' ']).filter_map(|(set, flag)| set.then_some(flag)));
        if let Some(precision) = directive.precision {
            format.extend([".", &precision.to_string()]);
        }
        format.push(verb);
        match value {
            Value::Float(_) => self.float(directive, (self.engine)(&format, value)),
            // The precision truncates the text before it is quoted.
            Value::String(text) if verb == 'q' => {
                let most = directive.precision.unwrap_or(usize::MAX);
                let cut = Value::String(text.chars().take(most).collect::<String>().into());
                self.padded(directive, &(self.engine)(&format.replace(|c: char| ".0123456789".contains(c), ""), &cut));
            }
            _ => self.padded(directive, &(self.engine)(&format, value)),
        }
    }

    fn padded(&mut self, directive: &Directive, text: &str) {
        // A longer text is rejected anyway.
        let width = directive.width.unwrap_or_default().min(self.limit + 1);
        let padding = width.saturating_sub(text.chars().count());
        match (directive.minus, directive.zero) {
            (true, _) => self.text.extend([text, &" ".repeat(padding)]),
            (false, true) => self.text.extend([&"0".repeat(padding), text]),
            (false, false) => self.text.extend([&" ".repeat(padding), text]),
        }
    }

    /// Reports values without a directive.
    fn extra(&mut self) -> Result<(), TooLong> {
        let left = self.values.get(self.next..).unwrap_or_default();
        if self.reordered || left.is_empty() {
            return Ok(());
        }
        self.text.push_str("%!(EXTRA ");
        for (number, value) in left.iter().enumerate() {
            self.text.push_str(if number > 0 { ", " } else { "" });
            if !matches!(value, Value::Nil) {
                self.text.extend([type_of(value), "="]);
            }
            self.value(&Directive::default(), 'v', value, true)?;
        }
        self.text.push(')');
        Ok(())
    }
}

/// Consumes a number; none if it is missing or too large.
fn number(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().ok().filter(|number| *number <= MAX_NUMBER)
}

/// Whether Go supports this verb for values of this type.
fn supports(verb: char, value: &Value) -> bool {
    match value {
        Value::Bool(_) => "tv".contains(verb),
        Value::Int(_) | Value::Uint(_) => "cqU".contains(verb),
        Value::Float(_) => "vgGfFeE".contains(verb),
        Value::String(_) => "vsxXq".contains(verb),
        _ => false,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) => "int",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        _ => "<nil>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn printed(format: &str, values: &[Value]) -> String {
        let engine = |format: &str, value: &Value| {
            let call = Value::List([Value::String(format.into()), value.clone()].into());
            let template = gotmpl::Template::new("").parse("{{printf (index . 0) (index . 1)}}");
            template.unwrap().execute_to_string(&call).unwrap()
        };
        printf(format, values, 1 << 20, &engine).unwrap()
    }

    #[test]
    fn numbers_are_formatted_as_in_go() {
        for (number, text) in [
            (9999.0, "9999"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-0.0, "-0"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(float(number), text);
        }
        let list = [Value::Float(1e7), Value::Nil, Value::String("a".into())];
        let map = Value::Map(Arc::new([("k".into(), Value::List(list.into()))].into()));
        assert_eq!(action(&map), "map[k:[1e+07 <nil> a]]");
        assert_eq!((action(&Value::Nil), print(&[Value::Nil])), ("<no value>".to_owned(), "<nil>".to_owned()));
    }

    /// Expected texts are those of Go 1.24's `fmt.Sprintf`.
    #[test]
    fn printf_formats_as_in_go() {
        let (port, name, on) = (Value::Float(9999.0), Value::String("cc".into()), Value::Bool(true));
        let list = Value::List([name.clone(), port.clone(), Value::Nil].into());
        let map = Value::Map(Arc::new([("k".into(), on.clone())].into()));
        let int = Value::Int(-5);
        for (format, values, text) in [
            ("%s:%v", vec![&name, &port], "cc:9999"),
            ("%d", vec![&port], "%!d(float64=9999)"),
            ("%s %t", vec![&port, &name], "%!s(float64=9999) %!t(string=cc)"),
            ("%v %s", vec![&list, &list], "[cc 9999 <nil>] [cc %!s(float64=9999) <nil>]"),
            ("%v %q", vec![&map, &map], "map[k:true] map[\"k\":%!q(bool=true)]"),
            (
                "%#v|%#v",
                vec![&list, &map],
                "[]interface {}{\"cc\", 9999, interface {}(nil)}|map[string]interface {}{\"k\":true}",
            ),
            ("%T %T %T", vec![&port, &list, &int], "float64 []interface {} int"),
            ("%6.1f|%-8v|%08v|%+v|%+.2e", vec![&port; 5], "9999.0|9999    |00009999|9999|+1.00e+04"),
            ("%4d|%04d|%x|%.3d|%+d", vec![&int; 5], "  -5|-005|-5|-005|-5"),
            ("%5s|%-5s|%05s|%.1s|%x", vec![&name; 5], "   cc|cc   |000cc|c|6363"),
            ("%#.1v %.1q %6q", vec![&name; 3], "\"c\" \"c\"   \"cc\""),
            ("%s", vec![], "%!s(MISSING)"),
            ("%v %v", vec![&Value::Nil, &name, &port], "<nil> cc%!(EXTRA float64=9999)"),
            ("%d", vec![&Value::Nil], "%!d(<nil>)"),
            ("%[2]v %[1]v", vec![&name, &port], "9999 cc"),
            ("%[3]v %[x]v", vec![&name], "%!v(BADINDEX) %!v(BADINDEX)"),
            ("%*d|%*v", vec![&Value::Int(4), &int, &port, &name], "  -5|%!(BADWIDTH)cc"),
            ("100%% %", vec![], "100% %!(NOVERB)"),
        ] {
            let values: Vec<Value> = values.into_iter().cloned().collect();
            assert_eq!(printed(format, &values), text, "{format}");
        }
    }

    #[test]
    fn the_size_limit_is_enforced() {
        let long = Value::List(vec![Value::Float(1.0); 1000].into());
        let over = printf("%900000v", &[long], 1 << 20, &|_, _| String::new());
        assert_eq!(over, Err(TooLong));
    }
}
