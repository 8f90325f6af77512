//! Newton's method with conjugate gradients and a line search.

use nalgebra::DMatrix;

use super::objective::{Evaluation, Objective};
use crate::error::ProbeError;

const MAX_ITERATIONS: usize = 200;

/// The minimum of an objective.
pub(super) struct Minimum {
    pub(super) parameters: DMatrix<f64>,
    pub(super) at: Evaluation,
    pub(super) iterations: usize,
}

/// Minimises an objective from 0 on, until no entry of the gradient exceeds `tolerance`.
pub(super) fn minimize(objective: &Objective, tolerance: f64) -> Result<Minimum, ProbeError> {
    let mut parameters = objective.zeros();
    let mut at = objective.evaluate(&parameters);
    for iterations in 0..MAX_ITERATIONS {
        if at.gradient.amax() <= tolerance {
            return Ok(Minimum { parameters, at, iterations });
        }
        let direction = newton_direction(objective, &at);
        match line_search(objective, &parameters, &at, &direction) {
            Some(better) => (parameters, at) = better,
            None => return Err(not_converged(&at, iterations, tolerance)),
        }
    }
    Err(not_converged(&at, MAX_ITERATIONS, tolerance))
}

fn not_converged(at: &Evaluation, iterations: usize, tolerance: f64) -> ProbeError {
    ProbeError::NotConverged { what: "logistic regression", iterations, gradient: at.gradient.amax(), tolerance }
}

/// Solves `Hessian · direction = −gradient` by conjugate gradients, preconditioned with the diagonal of the Hessian. The
/// solution is the more exact, the smaller the gradient, so that the steps converge faster than linearly.
///
/// The Hessian is 0 in the direction of a common shift of all classes, in which the gradient is 0 as well. This part is
/// removed.
fn newton_direction(objective: &Objective, at: &Evaluation) -> DMatrix<f64> {
    let norm = at.gradient.norm();
    let target = norm * norm.sqrt().min(0.1);
    let diagonal = objective.hessian_diagonal(at);
    let mut direction = objective.zeros();
    let mut residual = -&at.gradient;
    let mut scaled = residual.component_div(&diagonal);
    let mut search = scaled.clone();
    let mut product = residual.dot(&scaled);
    for _ in 0..2 * residual.len() + 20 {
        let change = objective.hessian_product(at, &search);
        let curvature = search.dot(&change);
        // Rounding noise only, or a value that is not finite.
        if curvature.is_nan() || curvature <= 0.0 {
            break;
        }
        let step = product / curvature;
        direction += &search * step;
        residual -= change * step;
        if residual.norm() <= target {
            break;
        }
        scaled = residual.component_div(&diagonal);
        let next = residual.dot(&scaled);
        search = &scaled + search * (next / product);
        product = next;
    }
    let shift = direction.column_mean();
    direction.column_iter_mut().for_each(|mut column| column -= &shift);
    direction
}

/// The first of the steps 1, ½, ¼, … that decreases the objective enough (Armijo's condition) or, where its change is
/// below rounding, the gradient. `None` if there is none.
fn line_search(
    objective: &Objective,
    parameters: &DMatrix<f64>,
    at: &Evaluation,
    direction: &DMatrix<f64>,
) -> Option<(DMatrix<f64>, Evaluation)> {
    const HALVINGS: i32 = 50;
    let slope = at.gradient.dot(direction);
    let rounding = 1e-14 * at.value.abs().max(1e-6);
    (0..HALVINGS).find_map(|halvings| {
        let step = 0.5_f64.powi(halvings);
        let next = parameters + direction * step;
        let found = objective.evaluate(&next);
        let decreases = slope < 0.0 && found.value <= at.value + 1e-4 * step * slope;
        let is_flat = (found.value - at.value).abs() <= rounding && found.gradient.norm() < at.gradient.norm();
        (decreases || is_flat).then_some((next, found))
    })
}
