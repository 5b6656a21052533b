//! License compliance reports: one document, four ways to write it.
//!
//! The command line writes local files' reports with the same code, so what a team builds on one
//! reads the other.

mod csv;
mod notices;
#[cfg(test)]
pub(crate) mod samples;

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use registry_core::{Caller, Error, LicenseReport, NoticeText, Registry, ReportScope, now_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::evidence::LicenseVerdict;

use super::Data;
use crate::server::access::Actor;
use crate::server::problem::{Answer, Problem};
use crate::ui;

const DAY_MS: i64 = 86_400_000;

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[schema(as = ReportFormat)]
pub(crate) enum Format {
    /// Everything, for programs
    #[default]
    Json,
    /// One line for each model and obligation, for spreadsheets
    Csv,
    /// A page that stands alone and prints
    Html,
    /// The license texts and notices that travel with the models, in one text
    Notices,
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Html => "text/html; charset=utf-8",
            Self::Notices => "text/plain; charset=utf-8",
        }
    }

    const fn file_name(self) -> &'static str {
        match self {
            Self::Json => "license-report.json",
            Self::Csv => "license-report.csv",
            Self::Html => "license-report.html",
            Self::Notices => "NOTICES.txt",
        }
    }
}

/// What a report is about. One of `model`, `namespace` and `token_group`, or the environment alone.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct ReportParams {
    /// `namespace/name`, with `@` and a commit, branch or tag where it is not the main branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "acme/small-llama")]
    pub(crate) model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Whose decisions are shown, the caller's own when absent; alone, every model with a decision
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    /// Everything that tokens with this label read since `since`; for site administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_group: Option<String>,
    /// A day, from its beginning in UTC, or an RFC 3339 time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "2026-01-01")]
    pub(crate) since: Option<String>,
    /// A day, to its end in UTC, or an RFC 3339 time; now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "2026-06-30")]
    pub(crate) as_of: Option<String>,
    #[param(inline)]
    pub(crate) format: Format,
}

impl ReportParams {
    /// Whether anything says what the report shall be about.
    pub(crate) fn has_scope(&self) -> bool {
        [&self.model, &self.namespace, &self.environment, &self.token_group].into_iter().any(Option::is_some)
    }

    /// Empty fields of a form are fields that nobody filled in.
    pub(crate) fn filled(mut self) -> Self {
        let texts = [
            &mut self.model,
            &mut self.namespace,
            &mut self.environment,
            &mut self.token_group,
            &mut self.since,
            &mut self.as_of,
        ];
        for text in texts {
            *text = text.take().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        }
        self
    }

    fn scope(&self) -> Result<ReportScope, Error> {
        let scope = match (&self.model, &self.namespace, &self.token_group) {
            (Some(model), None, None) => {
                let (name, revision) = model.split_once('@').map_or((model.as_str(), None), |(n, r)| (n, Some(r)));
                ReportScope::Model { name: name.parse()?, revision: revision.map(str::to_owned) }
            }
            (None, Some(namespace), None) => ReportScope::Namespace(namespace.clone()),
            (None, None, Some(label)) => {
                let since = self.since.as_deref();
                let since = since.ok_or_else(|| Error::invalid("since", "is needed with token_group"))?;
                ReportScope::TokenGroup { label: label.clone(), since: Moment::parse("since", since)?.first() }
            }
            (None, None, None) if self.environment.is_some() => ReportScope::Environment,
            _ => {
                let reason = "give one of model, namespace and token_group, or environment alone";
                return Err(Error::invalid("the report's scope", reason));
            }
        };
        if self.since.is_some() && self.token_group.is_none() {
            return Err(Error::invalid("since", "goes with token_group only"));
        }
        Ok(scope)
    }
}

/// A point in time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Milliseconds since 1970.
    Time(i64),
    /// The first millisecond of a day in UTC.
    Day(i64),
}

impl Moment {
    fn parse(field: &str, text: &str) -> Result<Self, Error> {
        if let Ok(date) = text.parse::<Date>()
            && text.len() == "2026-11-24".len()
            && let Ok(start) = date.to_zoned(TimeZone::UTC)
        {
            return Ok(Self::Day(start.timestamp().as_millisecond()));
        }
        let time = text.parse::<Timestamp>();
        let time = time.map_err(|_| Error::invalid(field, "must be a day such as 2026-06-30 or an RFC 3339 time"))?;
        Ok(Self::Time(time.as_millisecond()))
    }

    const fn first(self) -> i64 {
        match self {
            Self::Time(time) | Self::Day(time) => time,
        }
    }

    const fn last(self) -> i64 {
        match self {
            Self::Time(time) => time,
            Self::Day(start) => start + DAY_MS - 1,
        }
    }
}

/// When a report is of; a day counts when it is over.
fn date(as_of: Option<&str>) -> Result<i64, Error> {
    let Some(text) = as_of else { return Ok(now_ms()) };
    let moment = Moment::parse("as_of", text)?;
    if matches!(moment, Moment::Day(start) if start <= now_ms() && moment.last() > now_ms()) {
        return Err(Error::invalid("as_of", "is a day that is not over; give a time, or nothing for now"));
    }
    Ok(moment.last())
}

/// Makes the report that `params` ask for and writes it.
pub(crate) async fn answer(registry: &Registry, caller: &Caller, params: &ReportParams) -> Answer {
    let environment = params.environment.as_deref().unwrap_or_else(|| caller.environment());
    let as_of = date(params.as_of.as_deref())?;
    let report = registry.license_report(caller, &params.scope()?, environment, as_of).await?;
    let texts = match params.format {
        Format::Notices => registry.notice_texts(&report).await?,
        Format::Json | Format::Csv | Format::Html => BTreeMap::new(),
    };
    if params.format == Format::Html {
        return Ok(ui::report::standalone(&report));
    }
    let body = write(params.format, &report, &texts)?;
    Ok(HttpResponse::Ok()
        .content_type(params.format.content_type())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_DISPOSITION, format!("inline; filename=\"{}\"", params.format.file_name())))
        .body(body))
}

/// The report as text. Only [`Format::Notices`] needs `texts`.
pub(crate) fn write(
    format: Format,
    report: &LicenseReport,
    texts: &BTreeMap<String, NoticeText>,
) -> Result<String, Error> {
    Ok(match format {
        Format::Json => serde_json::to_string_pretty(report).map_err(Error::from)? + "\n",
        Format::Csv => csv::write(report),
        Format::Html => ui::report::document(report).into_string(),
        Format::Notices => notices::write(report, texts),
    })
}

/// What a revision's files came to, in a word.
pub(crate) const fn verdict_word(verdict: LicenseVerdict) -> &'static str {
    match verdict {
        LicenseVerdict::Agreed => "agreed",
        LicenseVerdict::Review => "review",
        LicenseVerdict::Unlicensed => "unlicensed",
    }
}

/// What was known of licenses on a date, and what is owed: for one model, a namespace, an
/// environment, or everything that a group of tokens read. The same date gives the same bytes
/// whenever it is asked for.
#[utoipa::path(get, path = "/v1/reports/license", tag = "governance", operation_id = "license_report",
    params(ReportParams),
    responses(
        (status = 200, content(
            (LicenseReport = "application/json"),
            (String = "text/csv"),
            (String = "text/html"),
            (String = "text/plain"))),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 413, description = "The scope has more rows than a report may have", body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn license(state: Data, Actor(caller): Actor, query: web::Query<ReportParams>) -> Answer {
    answer(&state.registry, &caller, &query.into_inner()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_runs_from_its_beginning_to_its_end() {
        let day = Moment::parse("since", "1970-01-02").unwrap();
        assert_eq!((day.first(), day.last()), (DAY_MS, 2 * DAY_MS - 1));
        let time = Moment::parse("since", "1970-01-01T00:00:01Z").unwrap();
        assert_eq!((time.first(), time.last()), (1000, 1000));
        for wrong in ["", "yesterday", "1970-13-01", "1970-01-01T00:00:01", "19700102"] {
            assert!(Moment::parse("since", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn today_is_no_date_of_a_report() {
        let today = registry_core::rfc3339(now_ms()).chars().take(10).collect::<String>();
        assert!(date(Some(&today)).is_err());
        assert!(date(Some("2020-02-29")).is_ok());
        assert!(date(None).unwrap() <= now_ms());
    }

    #[test]
    fn a_report_has_one_scope() {
        let params = |pairs: &[(&str, &str)]| -> ReportParams {
            serde_urlencoded::from_str(&serde_urlencoded::to_string(pairs).unwrap()).unwrap()
        };
        assert!(params(&[("model", "a/b"), ("namespace", "a")]).scope().is_err());
        assert!(params(&[]).scope().is_err());
        assert!(params(&[("token_group", "ci")]).scope().is_err(), "a group needs a time");
        assert!(params(&[("namespace", "a"), ("since", "2026-01-01")]).scope().is_err());
        assert_eq!(params(&[("environment", "production")]).scope().unwrap(), ReportScope::Environment);
        let model = params(&[("model", "a/b@v1"), ("environment", "production")]).scope().unwrap();
        assert_eq!(model, ReportScope::Model { name: "a/b".parse().unwrap(), revision: Some("v1".into()) });
    }

    #[test]
    fn an_empty_field_is_no_field() {
        let params: ReportParams = serde_urlencoded::from_str("model=&namespace=+&format=csv").unwrap();
        assert!(!params.filled().has_scope());
    }
}
