//! Query strings as the Hub's clients write them.
//!
//! Booleans arrive as `true`, `True` or `1`, lists as a repeated name, as `name[]` or with
//! commas, and clients send parameters that this registry has never heard of.

use actix_web::HttpRequest;
use registry_core::PageRequest;

use super::refusal::{Answer, Refusal};

/// The parameters of one request, in their order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(request: &HttpRequest) -> Answer<Self> {
        Self::parse(request.query_string())
    }

    pub(super) fn parse(text: &str) -> Answer<Self> {
        let parsed = serde_urlencoded::from_str(text);
        parsed.map(Self).map_err(|error| Refusal::bad_request(format!("The query does not parse: {error}.")))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1"))
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(key, _)| key.strip_suffix("[]").unwrap_or(key) == name);
        named.flat_map(|(_, values)| values.split(',')).map(str::trim).filter(|value| !value.is_empty()).collect()
    }

    pub(super) fn number(&self, name: &str) -> Answer<Option<u64>> {
        let parse = |text: &str| text.parse().map_err(|_| Refusal::bad_request(format!("{name} must be a number.")));
        self.text(name).map(parse).transpose()
    }

    /// The page wanted, of at most `most` rows. Clients ask for thousands and follow `Link`.
    pub(super) fn page(&self, default: u64, most: u64) -> Answer<PageRequest> {
        let limit = self.number("limit")?.unwrap_or(default).clamp(1, most);
        Ok(PageRequest { limit, cursor: self.text("cursor").map(str::to_owned) })
    }

    /// This query with another cursor, for the link to the next page.
    pub(super) fn with_cursor(&self, cursor: &str) -> String {
        let kept = self.0.iter().filter(|(key, _)| key != "cursor").map(|(key, value)| (key.as_str(), value.as_str()));
        let pairs: Vec<(&str, &str)> = kept.chain([("cursor", cursor)]).collect();
        serde_urlencoded::to_string(pairs).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_clients_is_read() {
        let query = Query::parse("a=True&b=1&c=false&filter=x&filter=y,z&expand[]=sha&limit=9000&u=%C3%A9").unwrap();
        assert!(query.flag("a") && query.flag("b") && !query.flag("c") && !query.flag("d"));
        assert_eq!(query.all("filter"), ["x", "y", "z"]);
        assert_eq!(query.all("expand"), ["sha"]);
        assert_eq!(query.text("u"), Some("é"));
        assert_eq!(query.page(50, 500).unwrap().limit, 500);
        assert!(Query::parse("limit=x").unwrap().page(50, 500).is_err());
    }

    #[test]
    fn the_next_page_keeps_the_question() {
        let query = Query::parse("search=a b&cursor=old&filter=x&filter=y").unwrap();
        assert_eq!(query.with_cursor("n/1"), "search=a+b&filter=x&filter=y&cursor=n%2F1");
    }
}
