//! Types that are chosen for a size: the arguments, and choosing.

mod curve;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ArgGroup;
use gguf_codec::model::{Allocation, Budget, Imatrix, Measurements, Prediction, Recipe, Source, TypePlan};
use gguf_codec::{AtomicFile, Error, Existing, GgmlType, Inputs, OutputProblem, ParseProblem};

pub(crate) use self::curve::most_worth;
pub(crate) use self::table::{as_json, told};
use crate::numbers::counted;
use crate::tensor_types::{self, TensorType};
use crate::work::Work;
use crate::{cli, size, texts};

/// What conflicts with choosing.
const OTHERS: [&str; 7] = [
    "recipe",
    "types_like",
    "pure",
    "tensor_type",
    "output_tensor_type",
    "token_embedding_type",
    "leave_output_tensor",
];

#[derive(clap::Args)]
#[group(id = "budget", multiple = true)]
#[command(group(ArgGroup::new("limit").args(["size", "bpw"])))]
#[command(mut_group("rules", |group| group.requires("limit")))]
pub(crate) struct Wanted {
    /// Choose the type of each tensor so that their data takes no more than this and the model suffers least, by
    /// an estimate. A number of bytes, or one with a unit, as in 5.5GB. The file is larger by its header. The summary has, for each role
    /// and type, its share of the predicted damage (with the default sensitivities a KL divergence, in nats per token), and the bytes that the next larger type
    /// would take with the share that it would save
    #[arg(long, value_name = "SIZE", value_parser = size::size, conflicts_with_all = OTHERS, conflicts_with = "bpw")]
    size: Option<u64>,
    /// Like --size, for an average number of bits per weight
    #[arg(long, value_name = "BITS", conflicts_with_all = OTHERS)]
    bpw: Option<f64>,
    #[command(flatten)]
    rules: Rules,
    /// Draw the predicted damage against the size, with llama.cpp's recipes as points, as SVG. With --size or --bpw
    #[arg(long, value_name = "FILE", conflicts_with_all = OTHERS, requires = "limit")]
    #[arg(value_parser = crate::paths::file())]
    plot: Option<PathBuf>,
}

/// How types are chosen, whatever the size.
#[derive(clap::Args)]
#[group(id = "rules", multiple = true)]
pub(crate) struct Rules {
    /// How much the model suffers from each tensor, instead of defaults by role: lines of a name, a tab and a number. With --size
    /// or --bpw
    #[arg(long, value_name = "FILE", conflicts_with_all = OTHERS)]
    #[arg(value_parser = crate::paths::file())]
    sensitivity: Option<PathBuf>,
    /// Let all values count the same, instead of defaults by role. With --size or --bpw
    #[arg(long, conflicts_with_all = OTHERS)]
    equal_sensitivity: bool,
    /// Give tensors whose names match a regular expression this type; patterns, and tensors that cannot have the type,
    /// are treated as by --tensor-type. With --size or --bpw
    #[arg(long, value_name = "PATTERN=TYPE", value_parser = tensor_types::tensor_type, conflicts_with_all = OTHERS)]
    fix: Vec<TensorType>,
    /// Choose among these types alone, instead of Q2_K, Q3_K, IQ4_XS, IQ4_NL, Q4_K, Q5_0, Q5_K, Q5_1, Q6_K and Q8_0. A tensor whose
    /// rows are not whole blocks of any of them stays as it is. With --size or --bpw
    #[arg(long, value_name = "TYPE", value_delimiter = ',', conflicts_with_all = OTHERS)]
    choose_from: Option<Vec<GgmlType>>,
    /// Give tensors of a role, such as ffn_down, no fewer bits than a type has. With --size or --bpw
    #[arg(long, value_name = "ROLE=TYPE", value_parser = by_role, conflicts_with_all = OTHERS)]
    at_least: Vec<(String, GgmlType)>,
    /// Give all tensors of a role one type. With --size or --bpw
    #[arg(long, conflicts_with_all = OTHERS)]
    one_type_per_role: bool,
    /// Keep what was measured in this file, and read it from there where it exists, so that another size takes no measuring. With
    /// --size or --bpw
    #[arg(long, value_name = "FILE", conflicts_with_all = OTHERS)]
    #[arg(value_parser = crate::paths::file())]
    measurements: Option<PathBuf>,
}

fn by_role(argument: &str) -> Result<(String, GgmlType)> {
    let (role, ty) = argument.split_once('=').context("write it as ROLE=TYPE")?;
    Ok((role.to_owned(), ty.parse()?))
}

/// A model that types are chosen for, and what else there is to know.
pub(crate) struct Task<'a, S> {
    pub(crate) input: &'a S,
    pub(crate) imatrix: Option<&'a Imatrix>,
    /// What is read, of which nothing is overwritten.
    pub(crate) inputs: &'a Inputs,
    /// The files that the model goes to.
    pub(crate) outputs: &'a [PathBuf],
    pub(crate) existing: Existing,
    /// Whether the model is not written.
    pub(crate) dry_run: bool,
}

impl<S> Task<'_, S> {
    /// Refuses where a file beside the model is in the place of the model.
    fn spare_model(&self, option: &str, path: &Path) -> Result<()> {
        let mut model = Inputs::new();
        model.add_all(self.outputs);
        match model.check(path, Existing::Replace) {
            Err(Error::Output { problem: OutputProblem::Input { .. }, .. }) => {
                bail!("{option} '{}' is the file that the model goes to", path.display())
            }
            _ => Ok(()),
        }
    }
}

/// What was chosen, and what there is to say of it.
pub(crate) struct Chosen {
    pub(crate) allocation: Allocation,
    pub(crate) notes: Vec<String>,
}

impl Wanted {
    /// Whether a size is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.size.is_some() || self.bpw.is_some()
    }

    /// The type that --fix asks for, by name.
    pub(crate) fn fixed(&self) -> impl Fn(&str) -> Option<GgmlType> + Sync {
        tensor_types::by_name(&self.rules.fix)
    }

    /// The files that are read, and measurements that are to be: none is overwritten.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.rules.paths()
    }

    /// The plot, which no model overwrites.
    pub(crate) fn plot(&self) -> Option<&PathBuf> {
        self.plot.as_ref()
    }

    /// Chooses, where that was asked for.
    pub(crate) fn choose<S: Source>(&self, task: &Task<'_, S>, work: &Work) -> Result<Option<Chosen>> {
        let budget = match (self.size, self.bpw) {
            (Some(bytes), _) => Budget::bytes(bytes),
            (None, Some(bits)) => Budget::bits_per_weight(bits),
            (None, None) => return Ok(None),
        };
        for (option, path) in [("--plot", &self.plot), ("--measurements", &self.rules.measurements)] {
            path.as_ref().map_or(Ok(()), |path| task.spare_model(option, path))?;
        }
        if !task.dry_run {
            task.inputs.check_all(task.outputs, task.existing)?;
        }
        if let Some(plot) = &self.plot {
            task.inputs.check(plot, task.existing)?;
        }
        let budget = self.rules.follow(budget, task)?;
        let (measured, notes) = self.rules.measure(&budget, task, work)?;
        let allocation = budget.choose_by(task.input, &measured)?;
        if let Some(plot) = &self.plot {
            let curve = budget.curve(task.input, &measured)?;
            // The plotting library's errors are not Send.
            let drawn = curve::draw(&curve, &allocation)
                .map_err(|error| anyhow!("cannot draw '{}': {error}", plot.display()))?;
            AtomicFile::write_with(plot, drawn.as_bytes(), task.existing)?;
        }
        Ok(Some(Chosen { allocation, notes }))
    }
}

impl Rules {
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.sensitivity.iter().chain(&self.measurements)
    }

    /// Has a budget follow the rules.
    fn follow<'a, S: Source>(&self, mut budget: Budget<'a>, task: &Task<'a, S>) -> Result<Budget<'a>> {
        if let Some(path) = &self.sensitivity {
            let text = texts::read(path)?;
            budget = budget.sensitivities(&text).map_err(|error| cli::about(path, error))?;
        }
        if let Some(types) = &self.choose_from {
            budget = budget.types(types.iter().copied());
        }
        let fixed = self.fixed(task.input)?;
        for (role, ty) in &self.at_least {
            budget = budget.least_type(role, *ty);
        }
        Ok(budget
            .fix(fixed)
            .one_type_per_role(self.one_type_per_role)
            .equal_sensitivities(self.equal_sensitivity)
            .imatrix(task.imatrix))
    }

    /// The types of tensors that patterns match: those that a recipe would give them where --tensor-type had the patterns.
    fn fixed<S: Source>(&self, input: &S) -> Result<Vec<(String, GgmlType)>> {
        let model = input.model();
        tensor_types::check("--fix", &self.fix, model.tensors().map(|tensor| tensor.name()))?;
        let by_name = tensor_types::by_name(&self.fix);
        let tensors: Vec<_> = model.tensors().collect();
        let plan = TypePlan::new(Recipe::Q8_0).pure(true).types_by_name(&by_name);
        let choices = plan.choose(model.metadata(), &tensors)?;
        let types = tensors.iter().zip(choices).filter_map(|(tensor, choice)| {
            let wanted = by_name(tensor.name())?;
            let is_given = choice.ggml_type == wanted || choice.instead_of == Some(wanted);
            is_given.then(|| (tensor.name().to_owned(), choice.ggml_type))
        });
        Ok(types.collect())
    }

    /// Measures, or takes what was measured before.
    fn measure<S: Source>(
        &self,
        budget: &Budget<'_>,
        task: &Task<'_, S>,
        work: &Work,
    ) -> Result<(Measurements, Vec<String>)> {
        let measure = |known| {
            let found = budget.measure(task.input, known, |done, total| work.reached(done, total));
            found.map_err(|error| explained(error, self.sensitivity.as_deref(), work))
        };
        let unknown = Measurements::default();
        let Some(path) = &self.measurements else { return Ok((measure(&unknown)?, Vec::new())) };
        let known = texts::read_if_there(path)?.map(|text| text.parse::<Measurements>());
        let known = known.transpose().map_err(|error| cli::about(path, error))?;
        if known.is_none() {
            Inputs::new().check(path, Existing::Refuse)?;
        }
        let found = measure(known.as_ref().unwrap_or(&unknown))?;
        let mut notes = Vec::new();
        let again = found.len() - found.reused();
        if known.is_none() || again > 0 && task.existing == Existing::Replace {
            AtomicFile::write_with(path, found.to_string().as_bytes(), task.existing)?;
        } else if again > 0 {
            notes.push(format!(
                "measured again: {}, which '{}' has of other values, importance or types (--force keeps them there)",
                counted(again as u64, "tensor"),
                path.display()
            ));
        }
        Ok((found, notes))
    }
}

/// An error of measuring, with the file of sensitivities where one of those is wrong.
pub(crate) fn explained(error: Error, sensitivity: Option<&Path>, work: &Work) -> anyhow::Error {
    match (&error, sensitivity) {
        (Error::Parse { problem: ParseProblem::Sensitivity { .. } }, Some(path)) => cli::named(path, error),
        _ => work.explained(error),
    }
}

/// The recipes that have a name.
pub(crate) fn named(recipes: &[Prediction]) -> impl Iterator<Item = (&'static str, &Prediction)> {
    recipes.iter().filter_map(|prediction| Some((prediction.recipe?.name(), prediction)))
}
