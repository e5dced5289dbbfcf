//! The edits of one file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr};

use super::{Genre, LineColumn, Mutant};

/// Text that replaces a range of the source; an empty range inserts it.
struct Edit {
    range: Range<usize>,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    /// A range of the source, with the edits inside it.
    Source(Range<usize>),
}

/// The file with its mutants, and the mutants without a switch, with the reason.
pub(crate) fn apply(
    source: &str,
    mutants: &[(usize, &Mutant)],
    skip: &HashSet<usize>,
) -> Result<(String, BTreeMap<usize, &'static str>)> {
    let mut at: HashMap<LineColumn, Vec<(usize, &Mutant)>> = HashMap::new();
    for &(number, mutant) in mutants {
        at.entry(mutant.span.start).or_default().push((number, mutant));
    }
    let mut editor = Editor { at, skip, edits: Vec::new(), constant: 0, met: BTreeMap::new() };
    editor.visit_file(&syn::parse_file(source)?);
    for (number, mutant) in mutants {
        ensure!(editor.met.contains_key(number), "not found in the syntax tree: {}", mutant.name);
    }
    let left_out = editor.met.into_iter().filter_map(|(number, why)| Some((number, why?))).collect();
    let mut out = String::new();
    render(source, &editor.edits, 0, 0..source.len(), &mut out).context("edits overlap")?;
    Ok((out, left_out))
}

/// Edits are in the order of the tree, so an edit inside another comes after it.
fn render(source: &str, edits: &[Edit], first: usize, range: Range<usize>, out: &mut String) -> Option<()> {
    let mut at = range.start;
    for (i, edit) in edits.iter().enumerate().skip(first) {
        if edit.range.start < at || edit.range.end > range.end {
            continue;
        }
        out.push_str(source.get(at..edit.range.start)?);
        for part in &edit.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Source(range) => render(source, edits, i + 1, range.clone(), out)?,
            }
        }
        at = edit.range.end;
    }
    out.push_str(source.get(at..range.end)?);
    Some(())
}

struct Editor<'a> {
    at: HashMap<LineColumn, Vec<(usize, &'a Mutant)>>,
    skip: &'a HashSet<usize>,
    edits: Vec<Edit>,
    /// The number of enclosing constants, patterns and `const fn`, where a switch cannot be evaluated.
    constant: usize,
    /// Every mutant seen, with the reason if it has no switch.
    met: BTreeMap<usize, Option<&'static str>>,
}

/// `parts!["text", range, "text"]`
macro_rules! parts {
    ($($part:expr),* $(,)?) => { vec![$(Part::from($part)),*] };
}

impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::Text(text)
    }
}

impl From<&str> for Part {
    fn from(text: &str) -> Part {
        Part::Text(text.into())
    }
}

impl From<Range<usize>> for Part {
    fn from(range: Range<usize>) -> Part {
        Part::Source(range)
    }
}

fn is(number: usize) -> String {
    format!("crate::mutant::is({number})")
}

/// The position of an alternative, for errors.
fn marked(number: usize, text: &str) -> String {
    format!("/*<{number}*/{text}/*{number}>*/")
}

impl<'a> Editor<'a> {
    /// The mutants of a genre that begin at the start of the span and can have a switch.
    fn mutants(&mut self, span: Span, genre: Genre) -> Vec<(usize, &'a Mutant)> {
        let start = span.start();
        let start = LineColumn { line: start.line, column: start.column + 1 };
        let found = self.at.get(&start).into_iter().flatten().filter(|(_, mutant)| mutant.genre == genre);
        let mut found: Vec<_> = found.copied().collect();
        for (number, _) in &found {
            self.met.insert(*number, (self.constant > 0).then_some("constant"));
        }
        found.retain(|(number, _)| self.constant == 0 && !self.skip.contains(number));
        found
    }

    fn edit(&mut self, range: Range<usize>, numbers: &[usize], mut parts: Vec<Part>) {
        if numbers.is_empty() {
            return;
        }
        let of = |template: fn(usize) -> String| numbers.iter().copied().map(template).collect::<String>();
        parts.insert(0, of(|number| format!("/*[{number}*/")).into());
        parts.push(of(|number| format!("/*{number}]*/")).into());
        self.edits.push(Edit { range, parts });
    }

    fn in_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.constant += 1;
        visit(self);
        self.constant -= 1;
    }

    fn function(&mut self, sig: &syn::Signature, block: &syn::Block) {
        self.constant += usize::from(sig.constness.is_some());
        if let Some(first) = block.stmts.first() {
            let mut mutants = self.mutants(first.span(), Genre::FnValue);
            if matches!(&sig.output, syn::ReturnType::Type(_, ty) if matches!(**ty, syn::Type::ImplTrait(_)))
            {
                // The body and its replacement would need the same type.
                for (number, _) in mutants.drain(..) {
                    self.met.insert(number, Some("form"));
                }
            }
            let at = block.brace_token.span.open().byte_range().end;
            for (number, mutant) in mutants {
                let value = marked(number, &format!("return {};", mutant.replacement));
                self.edit(at..at, &[number], parts![format!(" if {} {{ {value} }}", is(number))]);
            }
        }
        visit::visit_signature(self, sig);
        visit::visit_block(self, block);
        self.constant -= usize::from(sig.constness.is_some());
    }
}

/// Whether the operands include a `let` of a chain.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Editor<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.in_constant(|editor| visit::visit_item_const(editor, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.in_constant(|editor| visit::visit_item_static(editor, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.in_constant(|editor| visit::visit_impl_item_const(editor, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.in_constant(|editor| visit::visit_trait_item_const(editor, item));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.in_constant(|editor| visit::visit_variant(editor, variant));
    }

    fn visit_type(&mut self, ty: &'ast syn::Type) {
        self.in_constant(|editor| visit::visit_type(editor, ty));
    }

    fn visit_generic_argument(&mut self, argument: &'ast syn::GenericArgument) {
        self.in_constant(|editor| visit::visit_generic_argument(editor, argument));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.in_constant(|editor| visit::visit_expr_const(editor, block));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.in_constant(|editor| editor.visit_expr(&repeat.len));
    }

    fn visit_pat(&mut self, pat: &'ast syn::Pat) {
        self.in_constant(|editor| visit::visit_pat(editor, pat));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let mut mutants = self.mutants(binary.op.span(), Genre::BinaryOperator);
        let [whole, left, right] =
            [binary.span(), binary.left.span(), binary.right.span()].map(|s| s.byte_range());
        if matches!(binary.op, BinOp::And(_) | BinOp::Or(_)) {
            if has_let(&binary.left) || has_let(&binary.right) {
                // `let` is allowed in chains of `&&` only.
                for (number, _) in mutants.drain(..) {
                    self.met.insert(number, Some("unviable"));
                }
            }
            // The only mutant of each operator is the other operator.
            if let [(number, _)] = mutants[..] {
                let other = if matches!(binary.op, BinOp::And(_)) { "!=" } else { "==" };
                let middle = format!(" {{ l => if l {other} {} {{ ", is(number));
                self.edit(whole, &[number], parts!["(match ", left, middle, right, " } else { l } })"]);
            }
            return visit::visit_expr_binary(self, binary);
        }
        let compares = matches!(
            binary.op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        );
        let assigns = matches!(
            binary.op,
            BinOp::AddAssign(_)
                | BinOp::SubAssign(_)
                | BinOp::MulAssign(_)
                | BinOp::DivAssign(_)
                | BinOp::RemAssign(_)
                | BinOp::BitXorAssign(_)
                | BinOp::BitAndAssign(_)
                | BinOp::BitOrAssign(_)
                | BinOp::ShlAssign(_)
                | BinOp::ShrAssign(_)
        );
        let numbers: Vec<usize> = mutants.iter().map(|(number, _)| *number).collect();
        let op = binary.op.span().source_text().unwrap_or_default();
        let mut parts = if assigns {
            parts!["(match ", right, " { r => "]
        } else if compares {
            parts!["(match (&(", left.clone(), "), &(", right, ")) { (l, r) => "]
        } else {
            parts!["(match (", left.clone(), ", ", right, ") { (l, r) => "]
        };
        let mut alternative = |before: String, op: &str, after: &str| {
            parts.push(before.into());
            if assigns {
                parts.push(left.clone().into());
                parts.push(format!(" {op} r").into());
            } else {
                parts.push(if compares { format!("*l {op} *r") } else { format!("l {op} r") }.into());
            }
            parts.push(after.into());
        };
        for (number, mutant) in mutants {
            let before = format!("if {} {{ /*<{number}*/", is(number));
            alternative(before, &mutant.replacement, &format!("/*{number}>*/ }} else "));
        }
        alternative("{ ".into(), &op, " } })");
        self.edit(whole, &numbers, parts);
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let op = unary.op.span().source_text().unwrap_or_default();
        let (whole, operand) = (unary.span().byte_range(), unary.expr.span().byte_range());
        for (number, _) in self.mutants(unary.op.span(), Genre::UnaryOperator) {
            let parts = if matches!(*unary.expr, Expr::Lit(_)) {
                // Not bound, because the least integer has no positive counterpart.
                let then = format!("(if {} {{ ", is(number));
                parts![then, operand.clone(), format!(" }} else {{ {op}"), operand.clone(), " })"]
            } else {
                let value = marked(number, "v");
                let arm = format!(" {{ v => if {} {{ {value} }} else {{ {op}v }} }})", is(number));
                parts!["(match ", operand.clone(), arm]
            };
            self.edit(whole.clone(), &[number], parts);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        for (number, _) in self.mutants(arm.span(), Genre::MatchArm) {
            let at = arm.pat.span().byte_range().end;
            self.edit(at..at, &[number], parts![format!(" if !{}", is(number))]);
        }
        if let Some((_, guard)) = &arm.guard {
            let range = guard.span().byte_range();
            for (number, mutant) in self.mutants(guard.span(), Genre::MatchArmGuard) {
                let before = match mutant.replacement.as_str() {
                    "true" => format!("({} || (", is(number)),
                    _ => format!("(!{} && (", is(number)),
                };
                self.edit(range.clone(), &[number], parts![before, range.clone(), "))"]);
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        for field in &literal.fields {
            let mutants = self.mutants(field.span(), Genre::StructField);
            let Some(rest) = &literal.rest else { continue };
            let syn::Member::Named(name) = &field.member else { continue };
            let range = field.span().byte_range();
            let (rest, value) = (rest.span().byte_range(), field.expr.span().byte_range());
            for (number, _) in mutants {
                let path = literal.path.span().source_text().unwrap_or_default();
                let base = format!("{name}: if {} {{ let base: {path} = ", is(number));
                let parts =
                    parts![base, rest.clone(), format!("; base.{name} }} else {{ "), value.clone(), " }"];
                self.edit(range.clone(), &[number], parts);
            }
        }
        visit::visit_expr_struct(self, literal);
    }
}
