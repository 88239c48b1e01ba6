//! Finds undefined variables and functions, also in branches that are not executed. Go reports them when
//! it parses a template, the engine only when it executes them, if at all.

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode};

/// The functions of text/template.
const FUNCTIONS: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// A function that fails. Templates cannot call it, since its name contains spaces.
pub(super) const FAIL: &str = "fail to assign";

/// Checks a parsed template, and makes assignments to undeclared variables fail.
///
/// # Errors
/// The first error.
pub(super) fn check(tree: &mut ListNode) -> Result<(), String> {
    Scope { variables: vec!["$".to_owned()], loops: 0 }.list(tree)
}

struct Scope {
    variables: Vec<String>,
    /// The number of enclosing `range` loops.
    loops: usize,
}

impl Scope {
    fn list(&mut self, list: &mut ListNode) -> Result<(), String> {
        list.nodes.iter_mut().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &mut Node) -> Result<(), String> {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => self.pipe(&mut action.pipe),
            Node::If(branch) | Node::With(branch) => self.branch(branch, 0),
            Node::Range(branch) => self.branch(branch, 1),
            Node::Template(template) => template.pipe.iter_mut().try_for_each(|pipe| self.pipe(pipe)),
            Node::Define(define) => check(&mut define.body),
            Node::Break(_) | Node::Continue(_) if self.loops == 0 => Err("break or continue outside range".to_owned()),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &mut BranchNode, loops: usize) -> Result<(), String> {
        let outside = self.variables.len();
        self.pipe(&mut branch.pipe)?;
        self.loops += loops;
        self.list(&mut branch.body)?;
        self.loops -= loops;
        branch.else_body.iter_mut().try_for_each(|list| self.list(list))?;
        self.variables.truncate(outside);
        Ok(())
    }

    fn pipe(&mut self, pipe: &mut PipeNode) -> Result<(), String> {
        // Go reports an assignment to an undeclared variable only when it executes it.
        if pipe.is_assign && pipe.decl.iter().any(|name| !self.has(name)) {
            let fail = Expr::Identifier(pipe.pos, FAIL.into());
            pipe.commands.push(CommandNode { pos: pipe.pos, args: vec![fail] });
        }
        self.variables.extend(pipe.decl.iter().map(ToString::to_string));
        pipe.commands
            .iter_mut()
            .flat_map(|command| &mut command.args)
            .try_for_each(|expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &mut Expr) -> Result<(), String> {
        match expression {
            Expr::Variable(_, name, _) => self.variable(name),
            Expr::Identifier(_, name) if *name != FAIL && !FUNCTIONS.contains(&name.as_ref()) => {
                Err(format!("function {name:?} not defined"))
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &str) -> Result<(), String> {
        if self.has(name) { Ok(()) } else { Err(format!("undefined variable {name:?}")) }
    }

    fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable == name)
    }
}
