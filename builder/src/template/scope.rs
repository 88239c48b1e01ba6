//! What Go finds wrong with a template before it runs, and the engine only once it gets there, or
//! never: variables and functions that do not exist, also in branches that are not taken.

use gotmpl::parse::{BranchNode, Expr, ListNode, Node, PipeNode};

/// The functions of text/template.
const FUNCTIONS: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// Checks a parsed template.
///
/// # Errors
/// The first mistake, in words.
pub(super) fn check(tree: &ListNode) -> Result<(), String> {
    Scope { variables: vec!["$".to_owned()], loops: 0 }.list(tree)
}

struct Scope {
    variables: Vec<String>,
    /// How many `range` loops are around.
    loops: usize,
}

impl Scope {
    fn list(&mut self, list: &ListNode) -> Result<(), String> {
        list.nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => self.pipe(&action.pipe),
            Node::If(branch) | Node::With(branch) => self.branch(branch, 0),
            Node::Range(branch) => self.branch(branch, 1),
            Node::Template(template) => template.pipe.as_ref().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::Define(define) => check(&define.body),
            Node::Break(_) | Node::Continue(_) if self.loops == 0 => Err("break or continue outside range".to_owned()),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &BranchNode, loops: usize) -> Result<(), String> {
        let outside = self.variables.len();
        self.pipe(&branch.pipe)?;
        self.loops += loops;
        self.list(&branch.body)?;
        self.loops -= loops;
        branch.else_body.as_ref().map_or(Ok(()), |list| self.list(list))?;
        self.variables.truncate(outside);
        Ok(())
    }

    fn pipe(&mut self, pipe: &PipeNode) -> Result<(), String> {
        for name in &pipe.decl {
            if pipe.is_assign {
                self.variable(name)?;
            } else {
                self.variables.push(name.to_string());
            }
        }
        pipe.commands.iter().flat_map(|command| &command.args).try_for_each(|expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &Expr) -> Result<(), String> {
        match expression {
            Expr::Variable(_, name, _) => self.variable(name),
            Expr::Identifier(_, name) if !FUNCTIONS.contains(&name.as_ref()) => {
                Err(format!("function {name:?} not defined"))
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &str) -> Result<(), String> {
        if self.variables.iter().any(|variable| variable == name) {
            return Ok(());
        }
        Err(format!("undefined variable {name:?}"))
    }
}
