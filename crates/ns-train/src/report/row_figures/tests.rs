use serde_json::Value;

use super::*;
use crate::evaluate::some_row;
use crate::report::figures::TestFolder;

fn row(kind: Kind, run: &str, site: (&str, usize), measures: &[(&str, f64)]) -> Row {
    let measures: Vec<(&str, Value)> = measures.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
    let site = Some(format!("{}_update_{}", site.0, site.1));
    Row {
        kind,
        layer: site.as_ref().and_then(|site| site.rsplit('_').next()?.parse().ok()),
        site,
        ..some_row(run, &measures)
    }
}

fn probe(run: &str, measures: &[(&str, f64)]) -> Row {
    row(Kind::CircuitProbe, run, ("attn", 1), measures)
}

#[test]
fn circuit_probes_have_a_chart_of_1nn_and_of_the_ablated_model() {
    let folder = TestFolder::new("rows-circuit");
    let knn = [("knn_test", 0.911), ("knn_unmasked", 0.622), ("majority", 0.244), ("majority_test", 0.233)];
    draw_rows(folder.path(), &[probe("r-0", &knn)]).unwrap();
    let svg = folder.svg("probes");
    for text in ["Circuit probes · m · words.csv", "number · attn_update_1", "0.911", "0.622", "majority class"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!svg.contains("shuffled") && !svg.contains("model accuracy"));
    assert_eq!(folder.png_size("probes"), (1600, 545));
    let behaviour =
        [("accuracy_test", 0.999), ("accuracy_test_zero", 0.111), ("accuracy_test_zero_random_mean", 0.777)];
    let shuffled = [("knn_shuffled", 0.345)];
    draw_rows(folder.path(), &[probe("r-0", &[&knn[..], &behaviour, &shuffled].concat())]).unwrap();
    let svg = folder.svg("probes");
    for text in ["circuit for shuffled labels", "0.345", "model accuracy", "0.999", "0.111", "0.777"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!folder.path().join("sites.svg").exists() && !folder.path().join("accuracy-size.svg").exists());
}

#[test]
fn other_probes_have_the_plain_probe_as_a_bar() {
    let folder = TestFolder::new("rows-plain");
    let site = ("attn", 1);
    let subnetwork = [("probe_test", 0.812), ("probe_shuffled", 0.456), ("majority_test", 0.5)];
    let rows = [
        row(Kind::SubnetworkProbe, "r-0", site, &subnetwork),
        row(Kind::SubnetworkProbe, "r-0-plain", site, &[("probe_test", 0.923), ("probe_shuffled", 0.678)]),
        row(Kind::LinearProbe, "linear-0", site, &[("r2_test", -0.25), ("spearman_test", 0.345)]),
    ];
    draw_rows(folder.path(), &rows).unwrap();
    let svg = folder.svg("probes");
    for text in ["0.812", "0.923", "0.456", "probe without masks", "R²", "-0.250", "0.345"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!svg.contains("0.678"), "the control of the plain probe is in the table");
}

#[test]
fn many_probes_are_divided_among_figures() {
    let folder = TestFolder::new("rows-many");
    let rows: Vec<Row> =
        (0..140).map(|seed| Row { seed, ..probe(&format!("r-{seed}"), &[("knn_test", 0.5)]) }).collect();
    draw_rows(folder.path(), &rows[..18]).unwrap();
    let (first, second) = (folder.svg("probes"), folder.svg("probes-2"));
    assert!(first.contains("(1 of 2)") && first.contains(">\nseed 8\n<") && !first.contains(">\nseed 9\n<"), "{first}");
    assert!(second.contains(">\nseed 9\n<") && second.contains(">\nseed 17\n<"));
    draw_rows(folder.path(), &rows).unwrap();
    assert!(folder.path().join("probes-8.svg").exists() && !folder.path().join("probes-9.svg").exists());
    draw_rows(folder.path().join("none"), &[]).unwrap();
    assert!(!folder.path().join("none").exists());
}

#[test]
fn a_sweep_over_lambda_has_a_curve_of_sizes_with_averaged_seeds() {
    let run = |lambda: &str, seed: u64| format!("r-circuit_config.l0_lambda={lambda}-{seed}");
    let circuit = |lambda: &str, seed: u64, kept: f64, alone: f64| {
        let measures = [
            ("l0", kept),
            ("l0_max", 200.0),
            ("accuracy_test", 0.9),
            ("accuracy_test_circuit", alone),
            ("accuracy_test_zero", 0.2),
        ];
        row(Kind::Circuit, &run(lambda, seed), ("attn", 1), &measures)
    };
    let rows = [
        circuit("1e-7", 0, 100.0, 0.8),
        circuit("1e-7", 1, 140.0, 0.6),
        circuit("1e-6", 0, 20.0, 0.4),
        circuit("1e-6", 1, 20.0, 0.2),
    ];
    let panels = sizes::panels(&rows.iter().collect::<Vec<_>>(), &[]);
    assert_eq!((panels.len(), panels[0].y_label.as_str()), (1, "accuracy"));
    assert_eq!(panels[0].reference, Some(("full model".into(), 0.9)));
    let alone = &panels[0].series[0];
    assert_eq!(alone.name, "circuit alone");
    let expected = [(10.0, 0.3), (60.0, 0.7)];
    for (found, expected) in alone.points.iter().zip(expected) {
        assert!((found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9, "{found:?}");
    }
    assert_eq!(panels[0].series.len(), 2, "no random masks were measured");
    let folder = TestFolder::new("rows-sizes");
    draw_rows(folder.path(), &rows).unwrap();
    assert!(folder.svg("accuracy-size").contains("circuit ablated") && !folder.path().join("probes.svg").exists());
    let seeds: Vec<&Row> = rows[..2].iter().collect();
    assert!(sizes::panels(&seeds, &[]).is_empty(), "seeds alone are no sweep");
}

#[test]
fn layers_make_a_curve_for_each_sublayer() {
    let at = |block: &str, layer: usize, seed: u64, value: f64| {
        let measures = [("knn_test", value), ("knn_shuffled", 0.1), ("majority_test", 0.3)];
        Row { seed, ..row(Kind::CircuitProbe, "r", (block, layer), &measures) }
    };
    let rows = [at("attn", 0, 0, 0.5), at("attn", 1, 0, 0.6), at("attn", 1, 1, 0.8), at("mlp", 0, 0, 0.9)];
    let panels = sites::panels(&rows.iter().collect::<Vec<_>>());
    let names: Vec<(&str, bool)> =
        panels[0].series.iter().map(|series| (series.name.as_str(), series.control)).collect();
    assert_eq!(
        names,
        [("attn_update", false), ("shuffled labels", true), ("mlp_update", false), ("shuffled labels", true)]
    );
    assert_eq!(panels[0].series[0].points, [(0.0, 0.5), (1.0, 0.7)]);
    assert_eq!(panels[0].reference, Some(("majority class".into(), 0.3)));
    let folder = TestFolder::new("rows-sites");
    draw_rows(folder.path(), &rows).unwrap();
    assert!(folder.svg("sites").contains("mlp_update"));
    assert!(sites::panels(&rows[1..3].iter().collect::<Vec<_>>()).is_empty(), "one layer is no curve");
}
