//! What the name of a class says of its models.

/// Whether models of a class have a head that tells classes apart.
pub(in crate::model::hf) fn tells_classes_apart(class: &str) -> bool {
    class.ends_with("ForSequenceClassification")
}
