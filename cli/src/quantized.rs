//! What is said of a model that was quantized.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use gguf_codec::GgmlType;
use gguf_codec::model::{FileType, MissingImportance, QuantizeReport, QuantizedTensor, Recipe};
use serde_json::json;

use crate::budget::{self, Chosen};
use crate::importance::Idle;
use crate::listing::Listing;
use crate::names::Names;
use crate::numbers::counted;
use crate::quantization::Target;
use crate::{cli, sizes};

/// A model that was quantized, or would be.
pub(crate) struct Quantized<'a> {
    /// What it was quantized to, in words.
    pub(crate) target: &'a Target,
    /// The types that were chosen for a size.
    pub(crate) chosen: Option<&'a Chosen>,
    pub(crate) report: &'a QuantizeReport,
    pub(crate) idle: &'a Idle<'a>,
    /// The types that were asked for by names.
    pub(crate) by_name: &'a dyn Fn(&str) -> Option<GgmlType>,
    pub(crate) listing: &'a Listing,
    /// When the work began, if it was done.
    pub(crate) start: Option<Instant>,
}

/// The only file, or the first and the last file.
pub(crate) fn first_to_last(paths: &[PathBuf]) -> String {
    match paths {
        [first, .., last] => format!("{} to {}", first.display(), last.display()),
        paths => paths.iter().map(|path| path.display().to_string()).collect(),
    }
}

impl Quantized<'_> {
    /// The files, the sizes by type, `more` to say, and remarks about tensors.
    pub(crate) fn summary(&self, more: &str) -> Result<String> {
        let report = self.report;
        let verb = if self.start.is_some() { "is" } else { "would be" };
        let name = first_to_last(&report.paths);
        let target = self.target.name().unwrap_or_else(|| "quantized to a size".to_owned());
        let mut text = cli::printable(&format!("{name} {verb} {target}"));
        writeln!(text, ": {:.2} bits per weight", report.size_after().bits_per_weight())?;
        text += &self.listing.table(&report.tensors);
        text += &sizes::table(
            &report.by_type().into_iter().map(|(ty, sizes)| (ty.name(), sizes)).collect::<Vec<_>>(),
        );
        if !report.tensors.iter().any(QuantizedTensor::changes) {
            text += "no tensor changes its type\n";
        }
        text += more;
        text += &self.chosen.map(budget::told).transpose()?.unwrap_or_default();
        text += &remarks(self.idle, report, self.by_name)?;
        let time = self.start.map(|start| start.elapsed());
        text += &sizes::last_line(report.bytes, report.size_before().bytes, report.size_after().bytes, time);
        Ok(text)
    }
}

/// What there is to say of single tensors: those with importance and without, those of another type than the recipe's, and what was
/// given for none.
fn remarks(
    idle: &Idle<'_>,
    report: &QuantizeReport,
    by_name: &dyn Fn(&str) -> Option<GgmlType>,
) -> Result<String> {
    let mut text = String::new();
    if let Some(entries) = &idle.0 {
        let weighed = report.tensors.iter().filter(|tensor| tensor.importance).count();
        writeln!(text, "with importance: {}", counted(weighed as u64, "tensor"))?;
        let mut without = Names::default();
        let is_without = |tensor: &&QuantizedTensor| {
            tensor.changes()
                && tensor.ggml_type.is_quantized()
                && !tensor.importance
                && tensor.without_importance.is_none()
        };
        report.tensors.iter().filter(is_without).for_each(|tensor| without.add(&tensor.name));
        if !without.is_empty() {
            writeln!(text, "without importance, which the matrix lacks: {without}")?;
        }
        let mut strange = Names::default();
        entries.iter().for_each(|name| strange.add(name));
        if !strange.is_empty() {
            writeln!(text, "in the importance matrix, and not in the model: {strange}")?;
        }
    }
    let mut missing: BTreeMap<String, Names> = BTreeMap::new();
    for tensor in &report.tensors {
        let what = match tensor.without_importance {
            Some(MissingImportance::Uniform) => "with the same importance for all values".to_owned(),
            Some(_) => format!("{} instead of a type that needs importance", tensor.ggml_type),
            None => continue,
        };
        missing.entry(what).or_default().add(&tensor.name);
    }
    for (what, names) in missing {
        writeln!(text, "{what}, since there is none: {names}")?;
    }
    let (mut fallen, mut unheard) = (BTreeMap::<String, Names>::new(), BTreeMap::<String, Names>::new());
    for tensor in &report.tensors {
        let (ty, row_len) = (tensor.ggml_type, tensor.shape.row_len());
        let asked_for = by_name(&tensor.name).filter(|&asked_for| asked_for != ty);
        let too_short = asked_for.filter(|asked_for| !row_len.is_multiple_of(asked_for.block_len() as u64));
        if let Some(wanted) = tensor.instead_of.or(too_short.filter(|_| tensor.changes())) {
            fallen.entry(format!("{ty} instead of {wanted}")).or_default().add(&tensor.name);
        } else if let Some(wanted) = asked_for.filter(|_| tensor.without_importance.is_none()) {
            unheard.entry(format!("{ty}, and not {wanted}")).or_default().add(&tensor.name);
        }
    }
    for (what, names) in fallen {
        writeln!(text, "{what}, since rows are not whole blocks of that: {names}")?;
    }
    for (what, names) in unheard {
        writeln!(text, "{what}, since llama.cpp makes no such exception: {names}")?;
    }
    Ok(text)
}

/// The result for the model, or the result that it would have.
pub(crate) fn report_as_json(
    target: &Target,
    idle: &Idle<'_>,
    report: &QuantizeReport,
    chosen: Option<&Chosen>,
    is_written: bool,
) -> serde_json::Value {
    let tensor = |tensor: &QuantizedTensor| {
        json!({
            "name": tensor.name,
            "shape": tensor.shape.dims(),
            "from": tensor.from.name(),
            "type": tensor.ggml_type.name(),
            "instead_of": tensor.instead_of.map(GgmlType::name),
            "importance": tensor.importance,
            "missing_importance": tensor.without_importance.map(|missing| match missing {
                MissingImportance::Uniform => "uniform",
                _ => "type",
            }),
        })
    };
    let recipe = target.recipe;
    let of_recipe = recipe.map(Recipe::file_type);
    let file_type = chosen.map_or(of_recipe, |chosen| chosen.allocation.file_type());
    let mut json = json!({
        "recipe": recipe.map(Recipe::name),
        "file_type": file_type.map(FileType::id),
        "types_like": target.types_like.as_ref().map(|path| path.display().to_string()),
        "paths": report.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "bytes": report.bytes,
        "bits_per_weight": report.size_after().bits_per_weight(),
        "written": is_written,
        "unmatched_importance": idle.0.as_deref().unwrap_or_default(),
        "tensors": report.tensors.iter().map(tensor).collect::<Vec<_>>(),
    });
    if let Some(chosen) = chosen {
        json["budget"] = budget::as_json(chosen);
    }
    json
}
