//! Which types each tensor may get.

use std::collections::BTreeSet;

use super::planned::{Plan, Planned};
use super::{Budget, Limit, refused};
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::model::quantize::knows;
use crate::model::recipe::{Role, is_left_alone};
use crate::model::size::Size;
use crate::model::source::Source;

impl Budget<'_> {
    pub(super) fn plan<'m, S: Source>(&self, input: &'m S) -> Result<Plan<'m>> {
        let tensors: Vec<_> = input.model().tensors().collect();
        self.check_types()?;
        self.sensitivities.check(|name| tensors.iter().any(|tensor| tensor.name() == name))?;
        let roles = BTreeSet::from_iter(Role::ALL.map(Role::name));
        if let Some(role) = self.least.keys().find(|role| !roles.contains(role.as_str())) {
            let roles = Vec::from_iter(roles).join(", ");
            return refused(format!("there is no role '{}'; the roles are {roles}", role.escape_debug()));
        }
        if let Some(name) =
            self.fixed.keys().find(|name| !tensors.iter().any(|tensor| tensor.name() == *name))
        {
            return refused(format!(
                "a type is fixed for '{}', and the model has no such tensor",
                name.escape_debug()
            ));
        }
        let limit = self.limit(Size::sum_of(&tensors))?;
        let planned = |tensor: &TensorInfo<'m>| {
            let importance = self.imatrix.map_or(Ok(false), |imatrix| knows(imatrix, tensor))?;
            let choices = self.types_of(tensor, importance)?;
            Ok(Planned { tensor: *tensor, choices, importance })
        };
        let tensors = tensors.iter().map(planned).collect::<Result<Vec<_>>>()?;
        let recipes = self.recipe_types(input.model().metadata(), &tensors);
        Ok(Plan { tensors, recipes, limit })
    }

    /// Fails where values cannot be quantized to a type that was asked for.
    fn check_types(&self) -> Result<()> {
        let asked_for = self.types.iter().chain(self.fixed.values());
        if let Some(ty) = asked_for.clone().chain(self.least.values()).find(|ty| !ty.can_quantize()) {
            let all = GgmlType::ALL.iter().filter(|ty| ty.can_quantize());
            let all: Vec<_> = all.map(|ty| ty.name()).collect();
            return refused(format!("values are not quantized to {ty}, but to {}", all.join(", ")));
        }
        match asked_for.copied().find(|ty| ty.needs_importance() && self.imatrix.is_none()) {
            Some(ty) => refused(format!(
                "{ty} cannot be chosen for a size: values are not quantized to it without importance"
            )),
            None => Ok(()),
        }
    }

    fn limit(&self, whole: Size) -> Result<u64> {
        match self.limit {
            Limit::Bytes(bytes) => Ok(bytes),
            Limit::BitsPerWeight(bits) if bits.is_finite() && bits > 0.0 => {
                Ok((bits * whole.parameters as f64 / 8.0) as u64)
            }
            Limit::BitsPerWeight(bits) => {
                refused(format!("{bits} bits per weight: that is no number above 0"))
            }
        }
    }

    /// The types that a tensor may get; none where it stays as it is.
    fn types_of(&self, tensor: &TensorInfo<'_>, importance: bool) -> Result<Vec<GgmlType>> {
        let (name, row_len) = (tensor.name(), tensor.shape().row_len());
        let fits = |ty: GgmlType| ty.fits_rows(row_len) && (importance || !ty.needs_importance());
        if let Some(&ty) = self.fixed.get(name) {
            if tensor.ggml_type().is_integer() || !fits(ty) {
                return refused(format!(
                    "tensor '{}' of rows of {row_len} {} values cannot be {ty}",
                    name.escape_debug(),
                    tensor.ggml_type()
                ));
            }
            return Ok(vec![ty]);
        }
        if is_left_alone(tensor) {
            return Ok(Vec::new());
        }
        let mut fitting: Vec<_> = self.types.iter().copied().filter(|&ty| fits(ty)).collect();
        let own = tensor.ggml_type();
        if self.may_stay && own.is_quantized() && !fitting.is_empty() && !fitting.contains(&own) {
            fitting.push(own);
            fitting.sort();
        }
        let Some(&least) = self.least.get(Role::of(name).name()) else { return Ok(fitting) };
        let is_enough = |ty: &GgmlType| ty.bits_per_weight() >= least.bits_per_weight();
        let enough: Vec<_> = fitting.iter().copied().filter(is_enough).collect();
        if enough.is_empty() && !fitting.is_empty() {
            return refused(format!(
                "tensor '{}' can have none of the types that have as many bits as {least}",
                name.escape_debug()
            ));
        }
        Ok(enough)
    }
}
