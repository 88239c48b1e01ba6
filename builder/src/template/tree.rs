//! A parsed template, made to mean to the engine what it means to Go: a field of a value that is null
//! is an error, and values are written by [`format`](super::format). Executes nothing.

use std::sync::Arc;

use gotmpl::parse::{ActionNode, BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, PipeNode, SmolStr};
use gotmpl::{TemplateError, Value};

/// Functions that no template can name, since their names have spaces.
pub(super) const WRITE: &str = "write a value";
pub(super) const LOOK_UP: &str = "look up a field";

/// All of a template's trees, by name; the template itself has none. Of a definition that is empty
/// but for spaces nothing stays where there is another.
///
/// # Errors
/// A name that is defined twice.
pub(super) fn named(main: ListNode, defined: Vec<DefineNode>, mark: &str) -> Result<Vec<(SmolStr, ListNode)>, String> {
    let mut trees: Vec<(SmolStr, ListNode)> = Vec::new();
    let all = defined.into_iter().map(|definition| (definition.name, definition.body));
    for (name, mut tree) in all.chain([(SmolStr::default(), main)]) {
        rewrite(&mut tree, mark);
        match trees.iter_mut().find(|(other, _)| *other == name) {
            None => trees.push((name, tree)),
            Some((_, other)) if other.is_empty_tree() => *other = tree,
            Some(_) if tree.is_empty_tree() => {}
            Some(_) => return Err(format!("{name:?} is defined twice")),
        }
    }
    Ok(trees)
}

/// What [`LOOK_UP`] does: the value of a path of fields.
///
/// # Errors
/// A key that is missing, or a value that has no fields.
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

/// Whether a node is the string that stands for a comment.
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
        // Of a function's name the engine makes a call with what follows.
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
