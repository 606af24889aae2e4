//! An answer in which something is not listed yet, though it is there: what a service says that is consistent only after a while.

use serde_json::Value;

/// The answer without the elements of `list` that hold `text`, and how many these were.
pub(super) fn without(answer: &[u8], list: &str, text: &str) -> (Vec<u8>, usize) {
    let answer = String::from_utf8_lossy(answer).into_owned();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return (answer.into_bytes(), 0) };
    let (body, count) = if body.starts_with('{') {
        without_in_json(body, list, text)
    } else {
        without_in_xml(body, list, text)
    };
    let headers: Vec<String> = head
        .lines()
        .map(|line| {
            let is_length = line.to_ascii_lowercase().starts_with("content-length:");
            if is_length { format!("content-length: {}", body.len()) } else { line.to_owned() }
        })
        .collect();
    (format!("{}\r\n\r\n{body}", headers.join("\r\n")).into_bytes(), count)
}

fn without_in_json(body: &str, list: &str, text: &str) -> (String, usize) {
    let mut body: Value = serde_json::from_str(body).expect("an answer in JSON");
    let mut count = 0;
    if let Some(elements) = body.get_mut(list).and_then(Value::as_array_mut) {
        let before = elements.len();
        elements.retain(|element| !element.to_string().contains(text));
        count = before - elements.len();
    }
    (body.to_string(), count)
}

fn without_in_xml(body: &str, list: &str, text: &str) -> (String, usize) {
    let opening = format!("<{list}>");
    let Some(start) = body.find(&opening).map(|at| at + opening.len()) else { return (body.to_owned(), 0) };
    let (mut kept, mut count) = (body[..start].to_owned(), 0);
    let (mut depth, mut begun, mut at) = (0, start, start);
    while let Some(tag) = body[at..].find('<').map(|found| at + found) {
        let end = tag + body[tag..].find('>').expect("a tag ends") + 1;
        at = end;
        if body[tag..].starts_with("</") {
            if depth == 0 {
                break;
            }
            depth -= 1;
        } else if !body[..end].ends_with("/>") {
            depth += 1;
        }
        if depth == 0 {
            let element = &body[begun..end];
            if element.contains(text) {
                count += 1;
            } else {
                kept.push_str(element);
            }
            begun = end;
        }
    }
    kept.push_str(&body[begun..]);
    (kept, count)
}

#[test]
fn elements_are_left_out_and_nothing_else() {
    let body = "<r><set>\n<item><n>a</n><in><item>x</item></in></item> <item><n>b</n><e/></item><item/></set><n>a</n></r>";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nx: y\r\n\r\n{body}", body.len());
    let (left, count) = without(answer.as_bytes(), "set", "<n>a</n>");
    let left = String::from_utf8(left).expect("text");
    let expected = "<r><set> <item><n>b</n><e/></item><item/></set><n>a</n></r>";
    assert_eq!(
        left,
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx: y\r\n\r\n{expected}", expected.len())
    );
    assert_eq!(count, 1);
    assert_eq!(without(answer.as_bytes(), "set", "nothing").1, 0);

    let body = r#"{"Urls":["http://a","http://b"]}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (left, count) = without(answer.as_bytes(), "Urls", "//a");
    assert!(String::from_utf8(left).expect("text").ends_with("\r\n\r\n{\"Urls\":[\"http://b\"]}"));
    assert_eq!(count, 1);
}
