//! The metrics as OTLP has them, read from the very text that `/metrics` serves: one source, so that
//! both say the same.

use super::spans::text;
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
        metric::Data, number_data_point::Value,
    },
};
use std::collections::BTreeMap;

/// When the counting began, and now; in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub start: u64,
    pub now: u64,
}

/// One line of the text.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, String)>,
    value: f64,
}

/// Reads Prometheus' text format, as far as our own recorder writes it; lines that are otherwise are
/// left out.
pub(super) fn metrics(exposition: &str, times: Times) -> Vec<Metric> {
    let mut found = Vec::new();
    let mut about = "";
    let mut lines = exposition.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            about = help.split_once(' ').map_or("", |(_, about)| about);
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            samples.extend(sample(line));
        }
        let data = match kind {
            "counter" => Data::Sum(Sum {
                data_points: samples.iter().map(|sample| point(sample, times)).collect(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            }),
            "gauge" => Data::Gauge(Gauge {
                data_points: samples.iter().map(|sample| point(sample, times)).collect(),
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: histogram(name, &samples, times),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            }),
            _ => continue,
        };
        let unit = if name.ends_with("_seconds") { "s" } else { "1" };
        let metric = Metric {
            name: name.to_owned(),
            description: about.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        };
        about = "";
        found.push(metric);
    }
    found
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series, labels: Vec::new(), value });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = Vec::new();
    while let Some((label, behind)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next()? {
                (_, '\\') => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (at, '"') => break at,
                (_, other) => text.push(other),
            }
        };
        labels.push((label.trim_start_matches(','), text));
        rest = behind.get(end + 1..)?;
    }
    Some(Sample { name, labels, value })
}

fn attributes(sample: &Sample<'_>) -> Vec<KeyValue> {
    let labels = sample.labels.iter().filter(|(label, _)| *label != "le");
    labels.map(|(label, value)| text(label, value)).collect()
}

fn point(sample: &Sample<'_>, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(Value::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    }
}

/// Buckets, sum and count of each set of labels become one point. Ours count what lies above the
/// bucket before, Prometheus' count all below.
fn histogram(name: &str, samples: &[Sample<'_>], times: Times) -> Vec<HistogramDataPoint> {
    let mut points: BTreeMap<String, (HistogramDataPoint, u64)> = BTreeMap::new();
    for sample in samples {
        let part = sample.name.strip_prefix(name).unwrap_or_default();
        let key: Vec<_> = sample.labels.iter().filter(|(label, _)| *label != "le").collect();
        let (point, below) = points.entry(format!("{key:?}")).or_insert_with(|| {
            let point = HistogramDataPoint {
                attributes: attributes(sample),
                start_time_unix_nano: times.start,
                time_unix_nano: times.now,
                ..HistogramDataPoint::default()
            };
            (point, 0)
        });
        match part {
            "_sum" => point.sum = Some(sample.value),
            "_count" => point.count = whole(sample.value),
            "_bucket" => {
                let count = whole(sample.value);
                point.bucket_counts.push(count.saturating_sub(*below));
                *below = count;
                let bound = sample.labels.iter().find(|(label, _)| *label == "le");
                let bound = bound.and_then(|(_, bound)| bound.parse().ok());
                point.explicit_bounds.extend(bound.filter(|bound: &f64| bound.is_finite()));
            }
            _ => {}
        }
    }
    points.into_values().map(|(point, _)| point).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole, and `as` saturates"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_is_told_becomes_the_same_in_otlp() {
        let inner = metrics_exporter_prometheus::PrometheusBuilder::new();
        let inner = inner.set_buckets(&[0.5, 1.0]).unwrap().build_recorder();
        let handle = inner.handle();
        metrics::with_local_recorder(&inner, || {
            metrics::describe_counter!("calls_total", "Calls.");
            metrics::counter!("calls_total", "a" => "x\"y\\z\nw", "b" => "2").increment(3);
            metrics::counter!("calls_total", "a" => "", "b" => "3").increment(4);
            metrics::gauge!("open").set(1.5);
            for value in [0.1, 0.7, 0.8, 9.0] {
                metrics::histogram!("took_seconds", "p" => "q").record(value);
            }
        });
        let mut found = metrics(&handle.render(), Times { start: 1, now: 2 });
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<&str> = found.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["calls_total", "open", "took_seconds"]);
        assert_eq!((found[0].description.as_str(), found[2].unit.as_str()), ("Calls.", "s"));
        let Some(Data::Sum(sum)) = &found[0].data else { panic!("{:?}", found[0]) };
        assert!(sum.is_monotonic);
        let mut points: Vec<_> =
            sum.data_points.iter().map(|p| (p.attributes.clone(), p.value)).collect();
        points.sort_by_key(|(attributes, _)| format!("{attributes:?}"));
        let wanted = [
            (vec![text("a", ""), text("b", "3")], Some(Value::AsDouble(4.0))),
            (vec![text("a", "x\"y\\z\nw"), text("b", "2")], Some(Value::AsDouble(3.0))),
        ];
        assert_eq!(points, wanted);
        let Some(Data::Gauge(gauge)) = &found[1].data else { panic!("{:?}", found[1]) };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(1.5)));
        let Some(Data::Histogram(histogram)) = &found[2].data else { panic!("{:?}", found[2]) };
        let [point] = histogram.data_points.as_slice() else { panic!("{histogram:?}") };
        assert_eq!(point.explicit_bounds, [0.5, 1.0]);
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!((point.count, point.sum), (4, Some(10.6)));
        assert_eq!(point.attributes, [text("p", "q")]);
    }

    #[test]
    fn lines_that_are_otherwise_are_left_out() {
        for odd in ["", "x", "x y", "x{a=\"} 1", "x{a=\"b\" 1", "x{a=\"b\\"] {
            let text = format!("# TYPE x counter\n{odd}\nx 1\n");
            let found = metrics(&text, Times { start: 1, now: 2 });
            let Some(Data::Sum(sum)) = &found[0].data else { panic!("{found:?}") };
            assert_eq!(sum.data_points.len(), 1, "{odd}");
        }
    }
}
