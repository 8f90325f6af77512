//! Forward passes with observers: visited sites, early stops, patches, and starts from a hidden state.

use std::ops::{ControlFlow, Range};

use burn::tensor::{Device, Int, Tensor, TensorData, Tolerance};

use crate::architectures::AnyTransformer;
use crate::architectures::Gpt2Config;
use crate::config::CommonConfig;
use crate::context::Context;
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::model::Model;
use crate::residual::{Ignore, Observer, Patch, VectorCache};
use crate::site::Site;
use crate::testing::{config, inputs, model, model_of};
use crate::transformer::Transformer;
use crate::walk::{Flow, WalkOutcome};

/// Records the visited sites, and stops the forward pass at `stop_at`.
#[derive(Default)]
struct Counter {
    seen: Vec<Site>,
    stop_at: Option<Site>,
}

impl Observer for Counter {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        self.seen.push(site);
        match self.stop_at == Some(site) {
            true => ControlFlow::Break(site),
            false => ControlFlow::Continue(value),
        }
    }
}

/// Replaces the value at one site, and records the values with which the forward pass continues.
struct Change<F> {
    site: Site,
    change: F,
    cache: VectorCache,
}

impl<F: Fn(Tensor<3>) -> Tensor<3>> Observer for Change<F> {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        let value = if site == self.site { (self.change)(value) } else { value };
        self.cache.visit(site, value)
    }
}

fn site(name: &str) -> Site {
    name.parse().unwrap()
}

fn all_sites() -> Vec<Site> {
    let names = ["attn_update", "attn_stream", "mlp_update", "mlp_stream"];
    let blocks = (0..2).flat_map(|layer| names.map(|name| site(&format!("{name}_{layer}"))));
    std::iter::once(Site::Embeddings).chain(blocks).collect()
}

/// The values at all sites of a forward pass, and its output.
fn cached() -> (VectorCache, ModelOutput) {
    let mut cache = VectorCache::new(all_sites()).to_the_end();
    let output = model().walk(&inputs(), &mut cache).unwrap().output().unwrap();
    (cache, output)
}

fn patched(site: Site, change: impl Fn(Tensor<3>) -> Tensor<3>) -> (VectorCache, ModelOutput) {
    let mut patch = Change { site, change, cache: VectorCache::new(all_sites()).to_the_end() };
    let output = model().walk(&inputs(), &mut patch).unwrap().output().unwrap();
    (patch.cache, output)
}

fn vector(cache: &VectorCache, name: &str) -> TensorData {
    cache.get(site(name)).unwrap().into_data()
}

fn logits(output: ModelOutput) -> TensorData {
    output.logits.unwrap().into_data()
}

#[test]
fn a_walk_passes_every_site_once_and_in_order() {
    let mut counter = Counter::default();
    model().walk(&inputs(), &mut counter).unwrap();
    assert_eq!(counter.seen, all_sites());
    assert_eq!(model().sites(), all_sites());
}

#[test]
fn nothing_above_the_stop_is_visited() {
    for (index, stop_at) in all_sites().into_iter().enumerate() {
        let mut counter = Counter { stop_at: Some(stop_at), ..Default::default() };
        let walked = model().walk(&inputs(), &mut counter).unwrap();
        assert!(matches!(walked, WalkOutcome::Stopped(at) if at == stop_at));
        assert_eq!(counter.seen, all_sites()[..=index]);
    }
}

#[test]
fn a_stopped_walk_has_no_output_and_says_where_it_ended() {
    let mut cache = VectorCache::new([site("attn_update_0")]);
    let error = model().walk(&inputs(), &mut cache).unwrap().output().unwrap_err();
    assert!(error.to_string().contains("stopped at `attn_update_0`"), "{error}");
}

#[test]
fn a_cache_holds_exactly_what_was_asked_for() {
    let requested = [site("mlp_update_0"), site("embeddings"), site("attn_stream_1"), site("mlp_update_0")];
    let mut cache = VectorCache::new(requested);
    let walked = model().walk(&inputs(), &mut cache).unwrap();
    assert!(matches!(walked, WalkOutcome::Stopped(at) if at == site("attn_stream_1")));
    for known in all_sites() {
        let dims = cache.get(known).map(|vectors| vectors.dims());
        assert_eq!(dims, requested.contains(&known).then_some([2, 4, 8]), "{known}");
    }
}

#[test]
fn a_cache_without_sites_does_not_stop_the_walk() {
    let mut cache = VectorCache::new([]);
    assert!(model().walk(&inputs(), &mut cache).unwrap().output().is_ok());
}

#[test]
fn streams_are_sums_of_updates() {
    let (cache, _) = cached();
    let sum =
        |stream: &str, update: &str| (cache.get(site(stream)).unwrap() + cache.get(site(update)).unwrap()).into_data();
    for (before, update, after) in [
        ("embeddings", "attn_update_0", "attn_stream_0"),
        ("attn_stream_0", "mlp_update_0", "mlp_stream_0"),
        ("mlp_stream_0", "attn_update_1", "attn_stream_1"),
        ("attn_stream_1", "mlp_update_1", "mlp_stream_1"),
    ] {
        sum(before, update).assert_eq(&vector(&cache, after), true);
    }
}

#[test]
fn a_start_from_a_hidden_state_is_the_whole_walk_bit_for_bit() {
    let (cache, output) = cached();
    let whole = logits(output);
    for (layer, hidden) in [(0, "embeddings"), (1, "mlp_stream_0"), (2, "mlp_stream_1")] {
        let hidden = cache.get(site(hidden)).unwrap();
        let walked = model().walk_from_block(layer, hidden, &inputs(), &mut Ignore).unwrap();
        logits(walked.output().unwrap()).assert_eq(&whole, true);
    }
    let mut counter = Counter::default();
    model().walk_from_block(1, cache.get(site("mlp_stream_0")).unwrap(), &inputs(), &mut counter).unwrap();
    assert_eq!(counter.seen, all_sites()[5..], "earlier blocks are not computed again");
}

#[test]
fn a_start_that_does_not_fit_is_an_error() {
    let hidden = |dims| Tensor::<3>::zeros(dims, &Device::default());
    for (layer, dims) in [(3, [2, 4, 8]), (0, [2, 4, 7]), (1, [2, 3, 8]), (1, [1, 4, 8])] {
        let error = model().walk_from_block(layer, hidden(dims), &inputs(), &mut Ignore).unwrap_err();
        assert!(matches!(error, ModelError::InvalidInput { .. }), "{error:?}");
    }
}

#[test]
fn a_patch_changes_all_that_follows_and_nothing_before() {
    let (plain, plain_output) = cached();
    for (patched_index, patched_site) in all_sites().into_iter().enumerate() {
        let (cache, output) = patched(patched_site, |value| value.clone() * value + 0.25);
        for (index, known) in all_sites().into_iter().enumerate() {
            let same = vector(&cache, &known.to_string()) == vector(&plain, &known.to_string());
            assert_eq!(same, index < patched_index, "{known} after a patch of {patched_site}");
        }
        assert_ne!(logits(output), logits(plain_output.clone()), "{patched_site}");
    }
}

#[test]
fn an_update_that_is_replaced_by_zero_leaves_the_stream() {
    let (cache, _) = patched(site("mlp_update_0"), |value| value * 0.0);
    vector(&cache, "mlp_stream_0").assert_eq(&vector(&cache, "attn_stream_0"), true);
}

#[test]
fn a_patch_of_one_position_does_not_reach_those_before_it() {
    let (_, plain_output) = cached();
    let at_two = |value: Tensor<3>| value.slice_assign([0..2, 2..3, 0..8], Tensor::ones([2, 1, 8], &Device::default()));
    let (_, output) = patched(site("attn_stream_0"), at_two);
    let before = |output: ModelOutput| match output.logits {
        Some(Logits::Tokens(logits)) => logits.slice_dim(1, 0..2).into_data(),
        other => panic!("{other:?}"),
    };
    before(output.clone()).assert_eq(&before(plain_output.clone()), true);
    assert_ne!(logits(output), logits(plain_output));
}

#[test]
fn vectors_at_some_positions_are_a_slice_of_all() {
    let (cache, _) = cached();
    for known in all_sites() {
        for positions in [0..4, 0..1, 1..3, 3..4] {
            let some = model().vectors_at(known, positions.clone(), &inputs()).unwrap();
            assert_eq!(some.dims(), [2, positions.len(), 8]);
            let all = cache.get(known).unwrap().slice_dim(1, positions);
            some.into_data().assert_approx_eq::<f32>(&all.into_data(), Tolerance::absolute(1e-6));
        }
    }
}

#[test]
fn positions_outside_the_sequence_are_an_error() {
    for positions in [0..5, 4..5, 2..2] {
        let error = model().vectors_at(site("attn_update_1"), positions, &inputs()).unwrap_err();
        assert!(matches!(error, ModelError::InvalidInput { what: "positions", .. }), "{error:?}");
    }
}

#[test]
fn an_unknown_site_says_which_there_are() {
    let error = model().vectors_at(site("attn_update_2"), 0..1, &inputs()).unwrap_err();
    assert!(matches!(error, ModelError::NoSuchSite { .. }), "{error:?}");
    assert!(error.to_string().contains("`attn_update_2`") && error.to_string().contains("2 blocks"), "{error}");
    for known in all_sites() {
        assert!(model().check_site(known).is_ok(), "{known}");
    }
}

#[test]
fn a_cache_or_a_patch_of_an_absent_site_is_refused_before_the_walk() {
    let absent = site("mlp_stream_7");
    let errors = [
        model().walk(&inputs(), &mut VectorCache::new([site("mlp_stream_0"), absent])).unwrap_err(),
        model().walk(&inputs(), &mut patch(absent, 0..1, 0..1, [1, 1, 8])).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(&error, ModelError::NoSuchSite { asked, .. } if asked == "mlp_stream_7"), "{error:?}");
    }
}

/// A patch with the value 5 everywhere.
fn patch(at: Site, rows: Range<usize>, positions: Range<usize>, dims: [usize; 3]) -> Patch {
    Patch::new(at, rows, positions, Tensor::full(dims, 5.0, &model().device()))
}

#[test]
fn a_patch_replaces_some_vectors_and_composes_with_a_cache() {
    let at = site("mlp_stream_0");
    let (mut plain, mut patched) = (VectorCache::new([at]), (patch(at, 1..2, 2..4, [1, 2, 8]), VectorCache::new([at])));
    model().walk(&inputs(), &mut plain).unwrap();
    model().walk(&inputs(), &mut patched).unwrap();
    let (before, after) = (plain.get(at).unwrap(), patched.1.get(at).unwrap());
    let expected = before.slice_assign([1..2, 2..4, 0..8], Tensor::full([1, 2, 8], 5.0, &model().device()));
    after.into_data().assert_eq(&expected.into_data(), true);
    let output = model().walk(&inputs(), &mut patch(at, 0..2, 0..4, [2, 4, 8])).unwrap().output().unwrap();
    let whole = model().walk_from_block(1, Tensor::full([2, 4, 8], 5.0, &model().device()), &inputs(), &mut Ignore);
    let expected = whole.unwrap().output().unwrap().last_hidden_state.into_data();
    output.last_hidden_state.into_data().assert_eq(&expected, true);
}

#[test]
fn a_patch_that_does_not_fit_is_refused() {
    let at = site("mlp_stream_0");
    let wrong = [
        (patch(at, 0..3, 0..1, [3, 1, 8]), "2 rows of 4 positions"),
        (patch(at, 0..1, 3..5, [1, 2, 8]), "2 rows of 4 positions"),
        (patch(at, 0..1, 1..1, [1, 1, 8]), "at least one"),
        (patch(at, 0..1, 0..2, [1, 1, 8]), "[1, 2, 8]"),
    ];
    for (mut patch, expected) in wrong {
        let error = model().walk(&inputs(), &mut patch).unwrap_err();
        assert!(matches!(error, ModelError::InvalidInput { .. }) && error.to_string().contains(expected), "{error}");
    }
}

/// The refusal of a forward pass from the stream before block 1.
fn refusal(start_of_walk: &str, observer: &mut dyn Observer) -> ModelError {
    let (hidden, context) = (Tensor::ones([2, 4, 8], &model().device()), model().context(&inputs()).unwrap());
    match start_of_walk {
        "block" => model().walk_from_block(1, hidden, &inputs(), observer).unwrap_err(),
        _ => model().walk_blocks(site("mlp_stream_0"), hidden, &context, observer).unwrap_err(),
    }
}

#[test]
fn a_site_that_is_not_after_the_start_is_refused() {
    for walk in ["block", "site"] {
        for early in all_sites().into_iter().filter(|known| *known <= site("mlp_stream_0")) {
            for error in [
                refusal(walk, &mut VectorCache::new([early, site("mlp_stream_1")])),
                refusal(walk, &mut patch(early, 0..1, 0..1, [1, 1, 8])),
                refusal(walk, &mut (Ignore, VectorCache::new([early]))),
            ] {
                let start = site("mlp_stream_0");
                let expected =
                    matches!(error, ModelError::NotReached { asked, start: at } if asked == early && at == start);
                assert!(expected, "{error:?}");
            }
        }
        let absent = refusal(walk, &mut VectorCache::new([site("mlp_stream_7")]));
        assert!(matches!(absent, ModelError::NoSuchSite { .. }), "{absent:?}");
    }
    let hidden = Tensor::ones([2, 4, 8], &model().device());
    let error = model().walk_from_block(0, hidden, &inputs(), &mut VectorCache::new([Site::Embeddings])).unwrap_err();
    assert!(matches!(error, ModelError::NotReached { .. }), "{error:?}");
}

#[test]
fn a_walk_through_the_blocks_checks_what_it_gets() {
    let (hidden, context) = (|seq| Tensor::ones([2, seq, 8], &model().device()), model().context(&inputs()).unwrap());
    let walk = |seq, context: &Context, observer: &mut dyn Observer| {
        model().walk_blocks(site("mlp_stream_0"), hidden(seq), context, observer)
    };
    let mut counter = Counter::default();
    assert!(walk(4, &context, &mut counter).unwrap().is_continue());
    assert_eq!(counter.seen, all_sites()[5..]);
    let at = site("mlp_update_1");
    let narrowed = context.clone().only(1, 3..4);
    assert!(walk(4, &narrowed, &mut patch(at, 0..2, 0..1, [2, 1, 8])).is_ok());
    for error in [
        walk(3, &context, &mut Ignore).unwrap_err(),
        walk(4, &context, &mut patch(at, 0..3, 0..1, [3, 1, 8])).unwrap_err(),
        walk(4, &narrowed, &mut patch(at, 0..2, 3..4, [2, 1, 8])).unwrap_err(),
    ] {
        assert!(matches!(error, ModelError::InvalidInput { .. }), "{error:?}");
    }
}

#[test]
fn the_second_observer_is_not_called_where_the_first_stops() {
    let at = site("mlp_stream_0");
    let mut stops_first = (VectorCache::new([at]), Counter::default());
    model().walk(&inputs(), &mut stops_first).unwrap();
    assert_eq!(stops_first.1.seen, all_sites()[..4]);
    let mut stops_last = (Counter::default(), VectorCache::new([at]));
    model().walk(&inputs(), &mut stops_last).unwrap();
    assert_eq!(stops_last.0.seen, all_sites()[..5]);
    let mut both = (VectorCache::new([at]).to_the_end(), VectorCache::new([at]));
    model().walk(&inputs(), &mut both).unwrap();
    assert!(both.0.get(at).is_some() && both.1.get(at).is_some());
}

#[test]
fn a_base_model_ends_with_its_last_hidden_state() {
    let base = model_of(&Gpt2Config { common: CommonConfig::from_architecture("GPT2Model"), ..config() });
    let output = base.forward(&inputs()).unwrap();
    assert!(output.logits.is_none());
    assert_eq!(output.last_hidden_state.dims(), [2, 4, 8]);
}

#[test]
fn any_model_walks_as_its_architecture_does() {
    let any = AnyTransformer::from(model());
    let ours = logits(any.forward(&inputs()).unwrap());
    ours.assert_eq(&logits(model().forward(&inputs()).unwrap()), true);
    assert_eq!(any.sites(), model().sites());
    assert_eq!(any.maskable_layers().len(), model().maskable_layers().len());
}

#[test]
fn padding_changes_nothing_at_real_positions() {
    let device = Device::default();
    let row = |ids: ModelInputs| match model().forward(&ids).unwrap().logits {
        Some(Logits::Tokens(logits)) => logits.slice_dim(1, 0..3).into_data(),
        other => panic!("{other:?}"),
    };
    let short = row(ModelInputs::from_ids(&[[7, 0, 5]], &device));
    let mask = Tensor::from_ints([[1, 1, 1, 0]], &device);
    let padded = row(ModelInputs::from_ids(&[[7, 0, 5, 2]], &device).with_attention_mask(mask));
    padded.assert_approx_eq::<f32>(&short, Tolerance::absolute(1e-6));
}

mod inputs_that_do_not_fit {
    use super::*;

    #[track_caller]
    fn assert_refused(inputs: &ModelInputs, what: &str, expected: &str) {
        let error = model().forward(inputs).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, ModelError::InvalidInput { .. }), "{error:?}");
        assert!(message.contains(what) && message.contains(expected), "{message}");
        assert!(model().vectors_at(site("attn_update_0"), 0..1, inputs).is_err());
    }

    #[test]
    fn ids_outside_the_vocabulary() {
        let device = Device::default();
        assert_refused(&ModelInputs::from_ids(&[[1, 2], [3, 8]], &device), "token id is 8", "the vocabulary has 8");
        assert_refused(&ModelInputs::from_ids(&[[1, -1]], &device), "token id is -1", "the vocabulary has 8");
    }

    #[test]
    fn sequences_that_are_too_long() {
        let inputs = ModelInputs::from_ids(&[[1, 2, 3, 4, 5]], &Device::default());
        assert_refused(&inputs, "sequence length is 5", "4 positions");
    }

    #[test]
    fn an_attention_mask_of_another_shape() {
        let mask = Tensor::<2, Int>::ones([2, 3], &Device::default());
        assert_refused(&inputs().with_attention_mask(mask), "attention_mask is [2, 3]", "[2, 4]");
    }

    #[test]
    fn batches_without_a_pad_token_id() {
        let sequences = Gpt2Config {
            common: CommonConfig::from_architecture("GPT2ForSequenceClassification"),
            pad_token_id: None,
            ..config()
        };
        let error = model_of(&sequences).forward(&inputs()).unwrap_err();
        assert!(error.to_string().contains("pad_token_id"), "{error}");
    }
}
