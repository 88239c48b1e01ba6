//! Rewrites a parsed template so that the engine executes it as Go does: a field of null is an error, and
//! [`format`](super::format) formats values.

use std::sync::Arc;

use gotmpl::parse::{ActionNode, BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, PipeNode, SmolStr};
use gotmpl::{TemplateError, Value};

/// Functions that templates cannot call, since their names contain spaces.
pub(super) const WRITE: &str = "write a value";
pub(super) const LOOK_UP: &str = "look up a field";

/// Rewrites all trees of a template. Returns them by name; the main template has an empty name. As in Go,
/// a definition with spaces only does not replace another one.
///
/// # Errors
/// A duplicate definition.
pub(super) fn named(main: ListNode, defined: Vec<DefineNode>, mark: &str) -> Result<Vec<(SmolStr, ListNode)>, String> {
    let mut trees: Vec<(SmolStr, ListNode)> = Vec::new();
    let all = defined.into_iter().map(|definition| (definition.name, definition.body));
    for (name, mut tree) in all.chain([(SmolStr::default(), main)]) {
        rewrite(&mut tree, mark);
        match trees.iter_mut().find(|(other, _)| *other == name) {
            None => trees.push((name, tree)),
            Some((_, other)) if other.is_empty_tree() => *other = tree,
            Some(_) if tree.is_empty_tree() => {}
            Some(_) => return Err(format!("duplicate definition of {name:?}")),
        }
    }
    Ok(trees)
}

/// The function [`LOOK_UP`]: the value at a path of fields.
///
/// # Errors
/// A missing key, or a value without fields.
pub(super) fn look_up(arguments: &[Value]) -> gotmpl::Result<Value> {
    let (value, path) = arguments.split_first().ok_or_else(|| TemplateError::Exec("no value".to_owned()))?;
    path.iter().try_fold(value.clone(), |value, name| {
        let name = name.as_str().unwrap_or_default();
        match (&value, value.field(name)) {
            (_, Some(found)) => Ok(found.clone()),
            (Value::Map(_), None) => Err(TemplateError::MissingKey { key: name.to_owned() }),
            (Value::Nil, None) => Err(TemplateError::Exec(format!("null has no field {name:?}"))),
            (other, None) => Err(TemplateError::Exec(format!("a {} has no field {name:?}", other.type_name()))),
        }
    })
}

fn rewrite(list: &mut ListNode, mark: &str) {
    list.nodes.retain(|node| !is_comment(node, mark));
    for node in &mut list.nodes {
        match node {
            Node::List(list) => rewrite(list, mark),
            Node::Action(action) => {
                pipe(&mut action.pipe);
                if action.pipe.decl.is_empty() {
                    let write = Expr::Identifier(action.pos, WRITE.into());
                    action.pipe.commands.push(CommandNode { pos: action.pos, args: vec![write] });
                }
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let BranchNode { pipe: condition, body, else_body, .. } = branch;
                pipe(condition);
                rewrite(body, mark);
                if let Some(list) = else_body {
                    rewrite(list, mark);
                }
            }
            Node::Template(template) => template.pipe.iter_mut().for_each(pipe),
            Node::Define(define) => rewrite(&mut define.body, mark),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

/// Whether a node is the string that replaces a comment.
fn is_comment(node: &Node, mark: &str) -> bool {
    let Node::Action(ActionNode { pipe: PipeNode { commands, decl, .. }, .. }) = node else { return false };
    let [CommandNode { args, .. }] = commands.as_slice() else { return false };
    decl.is_empty() && matches!(args.as_slice(), [Expr::String(_, text)] if **text == *mark)
}

fn pipe(pipe: &mut PipeNode) {
    pipe.commands.iter_mut().flat_map(|command| &mut command.args).for_each(expression);
}

fn expression(expression: &mut Expr) {
    let pos = expression.pos();
    let (value, path) = match expression {
        Expr::Pipe(_, inner) => return pipe(inner),
        Expr::Field(_, path) => (Expr::Dot(pos), std::mem::take(path)),
        Expr::Variable(_, name, path) if !path.is_empty() => {
            (Expr::Variable(pos, name.clone(), Vec::new()), std::mem::take(path))
        }
        // The engine turns a function's name into a call.
        Expr::Chain(_, inner, path) if !matches!(**inner, Expr::Identifier(..)) => {
            self::expression(inner);
            (std::mem::replace(&mut **inner, Expr::Nil(pos)), std::mem::take(path))
        }
        _ => return,
    };
    let mut args = vec![Expr::Identifier(pos, LOOK_UP.into()), value];
    args.extend(path.into_iter().map(|name| Expr::String(pos, Arc::from(name.as_str()))));
    let commands = vec![CommandNode { pos, args }];
    *expression = Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false });
}
