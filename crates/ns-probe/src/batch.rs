//! A batch for a probe: model inputs, the tokens whose vectors the probe reads, and their labels.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{ModelError, ModelInputs, Observer, Positions, Site, TextBatch, Transformer, VectorCache};

use crate::error::ProbeError;
use crate::site_reader::SiteReader;

/// Padding label of circuit probes. [`ProbeBatch::selected_labels`] skips it.
pub const CIRCUIT_LABEL_PADDING: i64 = -1000;
/// Padding label of subnetwork probes. [`ProbeBatch::selected_labels`] skips it.
pub const SUBNETWORK_LABEL_PADDING: i64 = -100;

/// What the means of a batch must be.
const MEANS: &str = "each selected token must belong to one mean, and each mean to one sequence";

/// A batch for a probe.
///
/// The token mask selects tokens; the probe reads their vectors at its site. One label belongs to each vector: to each
/// selected token, or with [`means`](Self::means) to each mean.
#[derive(Clone, Debug)]
pub struct ProbeBatch {
    /// Inputs of the model: token ids `[batch, seq]`, or images.
    pub inputs: ModelInputs,
    /// Which tokens are selected: `batch · seq` entries, sequence by sequence. For images, `seq` counts the class token
    /// and the patches.
    pub token_mask: Vec<bool>,
    /// Labels of the selected tokens, in the order of the token mask. Padding labels may be anywhere among them.
    pub labels: Vec<i64>,
    /// Lengths of the groups of consecutive selected tokens whose vectors are averaged, e.g. the tokens of a word. A
    /// group belongs to one sequence, and each selected token to one group. Empty: nothing is averaged.
    pub means: Vec<usize>,
}

impl ProbeBatch {
    /// A batch of words in texts: it selects the last token of one word per text.
    ///
    /// `spans` holds the byte range of the word in the first text of each row, and `labels` one label per row.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] unless there is one span and one label per row, and for a span that no token of
    /// the (possibly truncated) text covers.
    pub fn from_words(texts: &TextBatch, spans: &[Range<usize>], labels: &[i64]) -> Result<Self, ProbeError> {
        let rows = texts.rows().len();
        for (what, found) in [("spans", spans.len()), ("labels", labels.len())] {
            if found != rows {
                return Err(invalid(what, format!("{found} long"), format!("the batch has {rows} texts")));
            }
        }
        let mut token_mask = Vec::new();
        for (row, span) in spans.iter().enumerate() {
            let tokens = texts.tokens_of(row, span.clone()).ok_or_else(|| {
                let expected = "no token of the tokenised (and possibly truncated) text covers it";
                invalid("span", format!("bytes {span:?} of text {row}"), expected.into())
            })?;
            token_mask.extend((0..texts.rows()[row].tokens().len()).map(|token| token + 1 == tokens.end));
        }
        Ok(Self { inputs: texts.inputs.clone(), token_mask, labels: labels.into(), means: Vec::new() })
    }

    /// The sequences with these indices, with their labels.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] for an index that is not below the number of sequences and for a token mask or means
    /// that do not fit the inputs, and [`ProbeError::LabelCount`] unless there is one label per vector. Padding labels
    /// are dropped.
    pub fn select(&self, sequences: &[usize]) -> Result<Self, ProbeError> {
        self.check_rows()?;
        let groups = self.groups()?;
        let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
        if let Some(index) = sequences.iter().find(|index| **index >= counts.len()) {
            let expected = format!("the batch has {} sequences, counted from 0", counts.len());
            return Err(invalid("sequence", index.to_string(), expected));
        }
        let padding = [CIRCUIT_LABEL_PADDING, SUBNETWORK_LABEL_PADDING];
        let labels: Vec<i64> = self.labels.iter().copied().filter(|label| !padding.contains(label)).collect();
        let vectors = counts.iter().sum();
        if labels.len() != vectors {
            return Err(ProbeError::LabelCount { tokens: vectors, labels: labels.len() });
        }
        let labels_of = |index: &usize| {
            let start: usize = counts[..*index].iter().sum();
            labels[start..start + counts[*index]].iter().copied()
        };
        let labels = sequences.iter().flat_map(labels_of).collect();
        let means = match self.means.is_empty() {
            true => Vec::new(),
            false => sequences.iter().flat_map(|index| groups[*index].clone()).collect(),
        };
        Ok(Self { labels, means, ..self.without_labels(sequences) })
    }

    /// The labels without `padding`, one per vector.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] if the token mask or the means do not fit the inputs, and
    /// [`ProbeError::LabelCount`] unless there is one label per vector.
    pub fn selected_labels(&self, padding: i64) -> Result<Vec<i64>, ProbeError> {
        self.check_rows()?;
        let labels: Vec<i64> = self.labels.iter().copied().filter(|label| *label != padding).collect();
        let vectors = match self.means.len() {
            0 => self.token_mask.iter().filter(|selected| **selected).count(),
            means => means,
        };
        if vectors != labels.len() {
            return Err(ProbeError::LabelCount { tokens: vectors, labels: labels.len() });
        }
        Ok(labels)
    }

    /// Checks that exactly one token, or one mean, of each sequence is selected.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`], which names the first sequence with another number of selected tokens, and for a
    /// token mask that does not fit the inputs.
    pub fn check_one_token_a_sequence(&self) -> Result<(), ProbeError> {
        self.check_rows()?;
        match self.groups()?.iter().map(Vec::len).enumerate().find(|(_, count)| *count != 1) {
            None => Ok(()),
            Some((row, count)) => {
                let expected = "labeling = sequence needs exactly one token per sequence";
                Err(invalid("token_mask", format!("true for {count} tokens in sequence {row}"), expected.into()))
            }
        }
    }

    /// The model inputs, after checking that the token mask fits them. They are without autodiff if `model` is, so a
    /// model in evaluation mode accepts a training batch.
    pub(crate) fn inputs_for<M: Transformer>(&self, model: &M) -> Result<ModelInputs, ProbeError> {
        self.check_mask(model.stream_dims(&self.inputs)?)?;
        Ok(match model.device().is_autodiff() {
            true => self.inputs.clone(),
            false => self.inputs.clone().without_autodiff(),
        })
    }

    /// The vectors of the selected tokens at a site of a model.
    ///
    /// # Shapes
    /// - output: `[selected, hidden]`
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] unless the token mask has one entry per token, and [`ProbeError::Model`] if the
    /// model does not have the site or cannot read the inputs.
    pub fn vectors_at<M: Transformer>(&self, model: &M, site: Site) -> Result<Tensor<2>, ProbeError> {
        let inputs = self.inputs_for(model)?;
        Ok(self.selected(model.vectors_at(site, self.positions(&model.device()), &inputs)?))
    }

    /// Like [`Self::vectors_at`], while an observer watches or changes the forward pass, for example a
    /// [`Patch`](ns_models::Patch).
    ///
    /// # Shapes
    /// - output: `[selected, hidden]`
    ///
    /// # Errors
    /// Returns the errors of [`Self::vectors_at`] and of [`Observer::check`], and [`ModelError::NotReached`] if the
    /// observer stops the forward pass before the site.
    pub fn vectors_with<M: Transformer, O: Observer>(
        &self,
        model: &M,
        site: Site,
        observer: O,
    ) -> Result<Tensor<2>, ProbeError> {
        let inputs = self.inputs_for(model)?;
        let mut observers = (observer, VectorCache::new([site]));
        model.walk(&inputs, &mut observers)?;
        let unreached = ModelError::NotReached { asked: site, start: Site::Embeddings };
        let vectors = observers.1.get(site).ok_or(unreached)?;
        Ok(self.selected(self.positions(&model.device()).select(vectors)))
    }

    /// The values of the selected tokens, for example of the logits of a token classification head.
    ///
    /// # Shapes
    /// - values: `[batch, seq, size]`
    /// - output: `[selected, size]`
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] unless the token mask has one entry per token.
    pub fn select_tokens(&self, values: Tensor<3>) -> Result<Tensor<2>, ProbeError> {
        let [batch, seq, _] = values.dims();
        self.check_mask([batch, seq])?;
        Ok(self.selected(self.positions(&values.device()).select(values)))
    }

    /// The vectors that probes read from the batch at several sites, in the order of `sites`, from one forward pass, which
    /// stops at the last of them. With [`means`](Self::means) they are averaged.
    ///
    /// # Shapes
    /// - output: `[selected, hidden]` per site, with means `[means, hidden]`
    ///
    /// # Errors
    /// Returns the errors of [`Self::vectors_at`].
    pub fn vectors_at_sites<M: Transformer>(&self, model: &M, sites: &[Site]) -> Result<Vec<Tensor<2>>, ProbeError> {
        let inputs = self.inputs_for(model)?;
        let positions = self.positions(&model.device());
        let mut reader = SiteReader::new(sites, |values| self.averaged(self.selected(positions.select(values))));
        model.walk(&inputs, &mut reader)?;
        Ok(reader.vectors()?)
    }

    /// The positions to compute: the selected positions, with the same number for each sequence.
    ///
    /// Sequences with fewer selected tokens than others repeat a position; [`Self::selected`] drops the repeats. If a
    /// sequence selects every position of [`Self::span`], the span is returned, which needs no gather.
    pub(crate) fn positions(&self, device: &Device) -> Positions {
        let (span, sequences) = (self.span(), self.selected_positions());
        let count = sequences.iter().map(Vec::len).max().unwrap_or_default();
        if count == span.len() || count == 0 {
            return Positions::Span(span);
        }
        let padded = |positions: &Vec<usize>| -> Vec<usize> {
            let first = positions.first().copied().unwrap_or(span.start);
            positions.iter().copied().chain(std::iter::repeat_n(first, count - positions.len())).collect()
        };
        Positions::chosen(sequences.iter().flat_map(padded).collect(), sequences.len(), device)
    }

    /// The positions to which the last block of a forward pass can be narrowed ([`Context::only`](ns_models::Context::only))
    /// if only the selected tokens are read; [`Self::selected`] takes the vectors at these positions. `None` if they
    /// would be as many as all tokens.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] unless the token mask has one entry per token of `dims`, `[batch, seq]`.
    pub fn narrowed_positions(&self, dims: [usize; 2], device: &Device) -> Result<Option<Positions>, ProbeError> {
        self.check_mask(dims)?;
        let positions = self.positions(device);
        Ok((positions.count() < dims[1]).then_some(positions))
    }

    /// The vectors of the selected tokens, given the vectors at the positions that were computed: those of
    /// [`Self::narrowed_positions`].
    ///
    /// # Shapes
    /// - vectors: `[batch, positions, hidden]`
    /// - output: `[selected, hidden]`
    pub fn selected(&self, vectors: Tensor<3>) -> Tensor<2> {
        let [batch, positions, hidden] = vectors.dims();
        let rows = self.selected_rows(positions);
        let vectors = vectors.reshape([batch * positions, hidden]);
        if rows.len() == batch * positions {
            return vectors;
        }
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), &vectors.device());
        vectors.select(0, rows)
    }

    /// The means of the groups of [`Self::means`]; the vectors themselves if there are none. A group is summed in the
    /// order of its tokens.
    ///
    /// # Shapes
    /// - vectors: `[selected, hidden]`
    /// - output: `[groups, hidden]`
    pub(crate) fn averaged(&self, vectors: Tensor<2>) -> Tensor<2> {
        let longest = self.means.iter().copied().max().unwrap_or(1);
        if longest <= 1 {
            return vectors;
        }
        // Shorter groups repeat their first vector, with the weight 0.
        let starts = self.means.iter().scan(0, |next, length| Some(std::mem::replace(next, *next + length)));
        let groups: Vec<(usize, usize)> = starts.zip(self.means.iter().copied()).collect();
        let entries = || groups.iter().flat_map(|group| (0..longest).map(move |token| (*group, token)));
        let row = |((start, length), token)| (start + if token < length { token } else { 0 }) as i64;
        let weight = |((_, length), token)| if token < length { 1.0 / length as f32 } else { 0.0 };
        let (rows, weights): (Vec<i64>, Vec<f32>) = (entries().map(row).collect(), entries().map(weight).collect());
        let (device, [_, hidden]) = (vectors.device(), vectors.dims());
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [groups.len() * longest]), &device);
        let weights = Tensor::<3>::from_data(TensorData::new(weights, [groups.len(), longest, 1]), &device);
        (vectors.select(0, rows).reshape([groups.len(), longest, hidden]) * weights).sum_dim(1).squeeze_dim(1)
    }

    /// The sequences with these indices, as a batch without labels and means. The token mask must fit the inputs.
    pub(crate) fn without_labels(&self, sequences: &[usize]) -> Self {
        let seq = self.seq();
        let masks = sequences.iter().flat_map(|row| &self.token_mask[row * seq..(row + 1) * seq]);
        Self {
            inputs: self.inputs.select(sequences),
            token_mask: masks.copied().collect(),
            labels: Vec::new(),
            means: Vec::new(),
        }
    }

    /// The groups of each sequence, as numbers of tokens. Without means each selected token is a group.
    fn groups(&self) -> Result<Vec<Vec<usize>>, ProbeError> {
        let counts = self.selected_per_sequence();
        if self.means.is_empty() {
            return Ok(counts.into_iter().map(|count| vec![1; count]).collect());
        }
        let mut means = self.means.iter().copied();
        let mut groups = vec![Vec::new(); counts.len()];
        for (sequence, count) in counts.into_iter().enumerate() {
            let mut left = count;
            while left > 0 {
                let length = means.next().unwrap_or_default();
                if length == 0 || length > left {
                    let found = format!("{length} for the next of {left} selected tokens of sequence {sequence}");
                    return Err(invalid("a mean", found, MEANS.into()));
                }
                groups[sequence].push(length);
                left -= length;
            }
        }
        match means.len() {
            0 => Ok(groups),
            left => Err(invalid("the list of means", format!("{left} means too long"), MEANS.into())),
        }
    }

    /// Number of selected tokens of each sequence.
    pub(crate) fn selected_per_sequence(&self) -> Vec<usize> {
        self.selected_positions().iter().map(Vec::len).collect()
    }

    /// Positions of the selected tokens of each sequence.
    pub fn selected_positions(&self) -> Vec<Vec<usize>> {
        let positions = |mask: &[bool]| (0..mask.len()).filter(|position| mask[*position]).collect();
        self.token_mask.chunks(self.seq()).map(positions).collect()
    }

    /// Checks that the token mask fits the inputs. For images, only a model knows the number of entries per image.
    fn check_rows(&self) -> Result<(), ProbeError> {
        if let Some(ids) = &self.inputs.input_ids {
            return self.check_mask(ids.dims());
        }
        let (entries, images) = (self.token_mask.len(), self.inputs.batch_size());
        if entries > 0 && images > 0 && entries.is_multiple_of(images) {
            return self.check_means();
        }
        let expected = format!(
            "it needs entries for the class token and the patches of each image; the batch has {images} images"
        );
        Err(invalid("token_mask", format!("{entries} entries long"), expected))
    }

    /// Checks that the token mask has one entry per token.
    pub(crate) fn check_mask(&self, [batch, seq]: [usize; 2]) -> Result<(), ProbeError> {
        if batch > 0 && self.token_mask.len() == batch * seq {
            return self.check_means();
        }
        let expected = format!("it needs one entry per token of the [{batch}, {seq}] batch, which must not be empty");
        Err(invalid("token_mask", format!("{} entries long", self.token_mask.len()), expected))
    }

    /// Checks that the means fit the token mask.
    fn check_means(&self) -> Result<(), ProbeError> {
        if self.means.is_empty() { Ok(()) } else { self.groups().map(|_| ()) }
    }

    /// Length of the sequences: size of the token mask over number of sequences.
    pub(crate) fn seq(&self) -> usize {
        (self.token_mask.len() / self.inputs.batch_size().max(1)).max(1)
    }

    /// Smallest range of positions that contains all selected tokens; the whole sequence if no token is selected.
    fn span(&self) -> Range<usize> {
        let seq = self.seq();
        let positions = || self.token_mask.iter().enumerate().filter(|(_, s)| **s).map(|(token, _)| token % seq);
        match (positions().min(), positions().max()) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..seq,
        }
    }

    /// Row indices of the selected tokens among the `batch · count` vectors at [`Self::positions`], where `count` is
    /// the number of positions per sequence.
    fn selected_rows(&self, count: usize) -> Vec<i64> {
        let (span, sequences) = (self.span(), self.selected_positions());
        let is_span = count == span.len();
        let rows = |(sequence, positions): (usize, &Vec<usize>)| -> Vec<i64> {
            let within = |(order, position): (usize, &usize)| if is_span { position - span.start } else { order };
            positions.iter().enumerate().map(|each| (sequence * count + within(each)) as i64).collect()
        };
        sequences.iter().enumerate().flat_map(rows).collect()
    }
}

fn invalid(what: &'static str, found: String, expected: String) -> ProbeError {
    ProbeError::Batch { what, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ns_models::TextTokenizer;
    use serde_json::json;

    fn batch(token_mask: &[u8], labels: &[i64]) -> ProbeBatch {
        ProbeBatch {
            inputs: ModelInputs::from_ids(&[[1, 2, 3, 4], [5, 6, 7, 8]], &Device::default()),
            token_mask: token_mask.iter().map(|selected| *selected == 1).collect(),
            labels: labels.into(),
            means: Vec::new(),
        }
    }

    #[test]
    fn padding_is_dropped_and_counts_must_agree() {
        let labels = [3, -1000, 4, -1000];
        let padded = batch(&[0, 1, 0, 0, 0, 0, 1, 0], &labels);
        assert_eq!(padded.selected_labels(CIRCUIT_LABEL_PADDING).unwrap(), [3, 4]);
        let error = padded.selected_labels(SUBNETWORK_LABEL_PADDING).unwrap_err();
        let expected = "there are 2 vectors, but 4 labels (padding not counted); each vector needs one label";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_token_mask_of_another_size_is_an_error() {
        assert!(batch(&[1], &[1]).selected_labels(-1000).unwrap_err().to_string().contains("[2, 4]"));
    }

    #[test]
    fn sequence_labels_need_one_token_each() {
        assert!(batch(&[0, 1, 0, 0, 0, 0, 1, 0], &[1, 2]).check_one_token_a_sequence().is_ok());
        let error = batch(&[0, 1, 0, 0, 0, 1, 1, 0], &[1, 2]).check_one_token_a_sequence().unwrap_err();
        assert!(error.to_string().contains("2 tokens in sequence 1"));
    }

    /// A tokenizer that splits at white space and pads on the right.
    fn tokenizer() -> TextTokenizer {
        let folder = tempfile::tempdir().unwrap();
        let vocab = json!({ "[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3 });
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
        });
        std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"pad_token": "[PAD]"}"#).unwrap();
        TextTokenizer::from_folder(folder.path()).unwrap()
    }

    #[test]
    fn words_select_their_last_token() {
        let texts = tokenizer().encode(&["a b b", "b a"], &Device::default()).unwrap();
        let words = ProbeBatch::from_words(&texts, &[0..3, 2..3], &[5, 6]).unwrap();
        assert_eq!(words.token_mask, [false, true, false, false, true, false]);
        assert_eq!(words.selected_labels(-1).unwrap(), [5, 6]);
        let refused = |spans: &[Range<usize>], labels: &[i64]| {
            ProbeBatch::from_words(&texts, spans, labels).unwrap_err().to_string()
        };
        assert!(refused(&[0..1, 7..9], &[5, 6]).contains("bytes 7..9 of text 1"));
        assert!(refused(&[0..1, 1..1], &[5, 6]).contains("bytes 1..1 of text 1"));
        assert!(refused(std::slice::from_ref(&(0..1)), &[5, 6]).contains("spans is 1 long, but the batch has 2 texts"));
        assert!(refused(&[0..1, 0..1], &[5]).contains("labels is 1 long"));
    }

    #[test]
    fn selected_sequences_keep_their_labels() {
        let some = batch(&[1, 0, 1, 0, 0, 0, 1, 0], &[7, -1000, 8, 9]);
        let second = some.select(&[1]).unwrap();
        assert_eq!((second.token_mask, second.labels), (vec![false, false, true, false], vec![9]));
        assert_eq!(some.select(&[1, 0, 1]).unwrap().labels, [9, 7, 8, 9]);
        assert!(some.select(&[2]).unwrap_err().to_string().contains("2 sequences"));
        assert!(matches!(batch(&[1, 0, 0, 0, 0, 0, 0, 0], &[]).select(&[0]), Err(ProbeError::LabelCount { .. })));
    }

    /// Two means in the first sequence, one in the second.
    fn averaged() -> ProbeBatch {
        ProbeBatch { means: vec![1, 2, 2], ..batch(&[1, 0, 1, 1, 0, 1, 1, 0], &[7, 8, 9]) }
    }

    #[test]
    fn means_have_one_label_each() {
        let batch = averaged();
        assert_eq!(batch.selected_labels(-1).unwrap(), [7, 8, 9]);
        let last = batch.select(&[1]).unwrap();
        assert_eq!((last.labels.clone(), last.means.clone()), (vec![9], vec![2]));
        assert!(last.check_one_token_a_sequence().is_ok());
        assert!(batch.check_one_token_a_sequence().unwrap_err().to_string().contains("2 tokens in sequence 0"));
        assert_eq!(batch.select(&[1, 0]).unwrap().means, [2, 1, 2]);
    }

    #[test]
    fn the_mean_of_a_group() {
        let device = Device::default();
        let vectors = Tensor::<2>::from_data([[1.0, 0.0], [2.0, 4.0], [4.0, 8.0], [0.0, 1.0], [1.0, 2.0]], &device);
        let means: Vec<f32> = averaged().averaged(vectors.clone()).to_data().iter().collect();
        assert_eq!(means, [1.0, 0.0, 3.0, 6.0, 0.5, 1.5]);
        let same = ProbeBatch { means: Vec::new(), ..averaged() }.averaged(vectors.clone());
        assert_eq!(same.to_data(), vectors.to_data());
    }

    #[test]
    fn means_must_cover_the_selected_tokens_of_each_sequence() {
        for (means, found) in [
            (vec![1, 3, 1], "3 for the next of 2 selected tokens of sequence 0"),
            (vec![1, 2], "0 for the next of 2 selected tokens of sequence 1"),
            (vec![3, 0, 2], "0 for the next of 2 selected tokens of sequence 1"),
            (vec![3, 2, 4], "1 means too long"),
        ] {
            let error = ProbeBatch { means, ..averaged() }.selected_labels(-1).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
    }

    #[test]
    fn a_token_mask_that_does_not_fit_is_refused_by_every_function() {
        let refused = |batch: &ProbeBatch| {
            let errors = [
                batch.select(&[0]).unwrap_err(),
                batch.selected_labels(-1).unwrap_err(),
                batch.check_one_token_a_sequence().unwrap_err(),
            ];
            assert!(errors.iter().all(|error| matches!(error, ProbeError::Batch { what: "token_mask", .. })));
            errors[0].to_string()
        };
        assert!(refused(&batch(&[1], &[1])).contains("1 entries long"));
        assert!(refused(&batch(&[1; 9], &[1; 9])).contains("[2, 4] batch"));
        let images = |token_mask: Vec<bool>| ProbeBatch {
            inputs: ModelInputs {
                pixel_values: Some(Tensor::zeros([2, 3, 4, 4], &Device::default())),
                ..ModelInputs::default()
            },
            labels: vec![1; token_mask.len()],
            token_mask,
            means: Vec::new(),
        };
        assert!(refused(&images(Vec::new())).contains("0 entries long, but it needs entries for the class token"));
        assert!(refused(&images(vec![true; 5])).contains("the batch has 2 images"));
        assert_eq!(images(vec![true; 10]).select(&[1]).unwrap().token_mask.len(), 5);
    }

    #[test]
    fn rows_count_within_the_span() {
        let some = batch(&[0, 1, 1, 0, 0, 0, 1, 0], &[1, 2, 3]);
        assert_eq!(some.span(), 1..3);
        assert_eq!(some.selected_rows(2), [0, 1, 3]);
    }

    #[test]
    fn positions_are_those_that_are_read() {
        let positions = |token_mask: &[u8]| batch(token_mask, &[]).positions(&Device::default()).to_string();
        assert_eq!(positions(&[0, 1, 0, 0, 0, 0, 0, 1]), "[1, 3]");
        assert_eq!(positions(&[0, 1, 0, 0, 0, 1, 0, 0]), "1..2");
        assert_eq!(positions(&[0, 1, 0, 1, 1, 0, 0, 0]), "[1, 3, 0, 0]", "the second sequence is padded");
        assert_eq!(positions(&[1, 1, 1, 1, 0, 0, 0, 1]), "0..4");
        assert_eq!(batch(&[0, 1, 0, 1, 1, 0, 0, 0], &[]).selected_rows(2), [0, 1, 2], "the padding is dropped");
    }
}
