//! Gradients of the metric with respect to activations, and scores that estimate the effect of patching.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ns_models::{ModelInputs, Site};
use ns_probe::{ActivationGradient, ActivationSite, Hooks, activation_gradients};

use super::{Case, Tensors, site};
use crate::error::TrainError;
use crate::verify::invalid;

type Gradients = BTreeMap<ActivationSite, ActivationGradient>;

pub(super) fn produce(case: &Case) -> Result<Tensors, TrainError> {
    let named = |keys: &[&str]| {
        let names = keys.iter().flat_map(|key| case.names(key));
        names.map(|name| Ok((site(&name)?, name))).collect::<Result<Vec<_>, TrainError>>()
    };
    let all = named(&["residual_sites", "mlp_sites", "head_sites"])?;
    let clean = gradients(case, &case.clean, &all, Hooks::new())?;
    let corrupted = gradients(case, &case.corrupted, &all, Hooks::new())?;
    let difference = |site: &ActivationSite| clean[site].value.clone() - corrupted[site].value.clone();
    let mut produced = Tensors::new();
    for (site, name) in &all {
        produced.insert(format!("difference.{name}"), difference(site).into_data());
        for (run, gradients) in [("clean", &clean), ("corrupted", &corrupted)] {
            let gradient = gradients[site].gradient.clone();
            add(case, &mut produced, (run, site, name), gradient, difference(site))?;
        }
    }
    let nodes = named(&["mlp_sites", "head_sites"])?;
    let nodes: Vec<_> = nodes.into_iter().chain([(Site::Embeddings.into(), "resid.0".to_string())]).collect();
    for (site, gradient) in integrated(case, &nodes, &clean, &corrupted)? {
        let Some((_, name)) = nodes.iter().find(|(node, _)| *node == site) else { continue };
        add(case, &mut produced, ("ig", &site, name), gradient, difference(&site))?;
    }
    Ok(produced)
}

fn gradients(
    case: &Case,
    inputs: &ModelInputs,
    sites: &[(ActivationSite, String)],
    hooks: Hooks,
) -> Result<Gradients, TrainError> {
    let sites: Vec<ActivationSite> = sites.iter().map(|(site, _)| site.clone()).collect();
    Ok(activation_gradients(&case.model, inputs, &sites, hooks, |output| case.total(&output))?.1)
}

/// Adds a gradient, and its product with the difference summed over the width of each unit.
fn add(
    case: &Case,
    produced: &mut Tensors,
    (run, site, name): (&str, &ActivationSite, &str),
    gradient: Tensor<3>,
    difference: Tensor<3>,
) -> Result<(), TrainError> {
    let [batch, seq, width] = gradient.dims();
    let heads = if matches!(site, ActivationSite::Heads(_)) { case.count("heads") } else { 1 };
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(invalid("heads", heads.to_string(), format!("they divide the width {width}")));
    }
    let score = (gradient.clone() * difference).reshape([batch, seq, heads, width / heads]).sum_dim(3);
    let score = score.reshape([batch, seq, heads]).into_data();
    produced.insert(format!("{run}.grad.{name}"), gradient.into_data());
    produced.insert(format!("{run}.score.{name}"), score);
    Ok(())
}

/// Mean gradients over runs of the clean inputs whose embeddings lie on the way from the corrupted to the clean ones.
fn integrated(
    case: &Case,
    nodes: &[(ActivationSite, String)],
    clean: &Gradients,
    corrupted: &Gradients,
) -> Result<BTreeMap<ActivationSite, Tensor<3>>, TrainError> {
    let (embeddings, steps) = (ActivationSite::from(Site::Embeddings), case.count("ig_steps"));
    let [end, start] = [clean, corrupted].map(|run| Tensor::from_inner(run[&embeddings].value.clone()));
    let mut means: BTreeMap<ActivationSite, Tensor<3>> = BTreeMap::new();
    for step in 1..=steps {
        let share = step as f64 / steps as f64;
        let point = start.clone() + (end.clone() - start.clone()) * share;
        let hooks = Hooks::new().at(embeddings.clone(), move |_| point.clone());
        for (site, found) in gradients(case, &case.clean, nodes, hooks)? {
            let part = found.gradient / steps as f64;
            let sum = means.remove(&site).map_or_else(|| part.clone(), |sum| sum + part.clone());
            means.insert(site, sum);
        }
    }
    Ok(means)
}
