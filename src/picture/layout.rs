//! Finds a place for boxes and arrows, from top to bottom: the layered layout of Sugiyama, Tagawa and Toda (1981).
//!
//! Boxes that arrows connect are laid out together: each stands in a row below whatever points at it, rows are sorted so that few arrows
//! cross, and boxes are moved towards what they are connected with. Nothing in it depends on chance or on a clock.

/// Between two boxes of a row.
const GAP: f64 = 36.0;
/// Between two rows: room for the label of an arrow.
const ROW_GAP: f64 = 74.0;
/// What an arrow needs that passes a row.
const PASSAGE: f64 = 18.0;
/// Rows of unconnected parts become no wider than this.
const WIDEST: f64 = 980.0;
/// Between two unconnected parts.
const PART_GAP: f64 = 44.0;
/// How often rows are sorted and boxes are moved: more changes nothing that is seen.
const SWEEPS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// An arrow between two boxes, and the width of what is written on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) label: f64,
}

/// Where everything goes.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// The upper left corner of each box.
    pub(super) boxes: Vec<Point>,
    /// The way of each arrow, from its beginning to its end: pairs of points, between which it is curved, joined by straight lines.
    pub(super) ways: Vec<Vec<Point>>,
    pub(super) size: Point,
}

/// A box, or the passage of an arrow through a row.
#[derive(Debug, Clone, Copy)]
struct Node {
    size: Size,
    row: usize,
    /// The middle.
    x: f64,
}

pub(super) fn place(sizes: &[Size], edges: &[Edge]) -> Placed {
    let mut placed = Placed {
        boxes: vec![Point::default(); sizes.len()],
        ways: vec![Vec::new(); edges.len()],
        size: Point::default(),
    };
    let mut corner = Point::default();
    let mut lowest: f64 = 0.0;
    for (boxes, edges_of_part) in parts(sizes.len(), edges) {
        let part = Part::lay_out(&boxes, &edges_of_part, sizes, edges);
        if corner.x > 0.0 && corner.x + part.size.x > WIDEST {
            corner = Point { x: 0.0, y: lowest + PART_GAP };
        }
        let moved = |point: &Point| Point { x: point.x + corner.x, y: point.y + corner.y };
        for (at, point) in boxes.iter().zip(&part.boxes) {
            placed.boxes[*at] = moved(point);
        }
        for (at, way) in edges_of_part.iter().zip(&part.ways) {
            placed.ways[*at] = way.iter().map(moved).collect();
        }
        lowest = lowest.max(corner.y + part.size.y);
        placed.size.x = placed.size.x.max(corner.x + part.size.x);
        corner.x += part.size.x + PART_GAP;
    }
    placed.size.y = lowest;
    placed
}

/// Boxes that arrows connect, with their arrows; what has most boxes comes first.
fn parts(count: usize, edges: &[Edge]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut part_of: Vec<usize> = (0..count).collect();
    for edge in edges {
        let (one, other) = (part_of[edge.from], part_of[edge.to]);
        let first = one.min(other);
        part_of.iter_mut().filter(|part| **part == one || **part == other).for_each(|part| *part = first);
    }
    let mut parts: Vec<(Vec<usize>, Vec<usize>)> = (0..count)
        .map(|part| {
            let boxes = (0..count).filter(|at| part_of[*at] == part).collect();
            (boxes, (0..edges.len()).filter(|at| part_of[edges[*at].from] == part).collect())
        })
        .collect();
    parts.retain(|(boxes, _): &(Vec<usize>, _)| !boxes.is_empty());
    // A stable sort: parts of one size stay in the order of their boxes.
    parts.sort_by_key(|(boxes, _)| std::cmp::Reverse(boxes.len()));
    parts
}

/// An arrow cut into pieces, each from one row to the next. It points downwards, whichever way it really goes.
struct Chain {
    nodes: Vec<usize>,
    upwards: bool,
    label: f64,
}

/// What is connected, while it is laid out.
struct Part {
    boxes: Vec<Point>,
    ways: Vec<Vec<Point>>,
    size: Point,
}

impl Part {
    fn lay_out(boxes: &[usize], edges_of_part: &[usize], sizes: &[Size], edges: &[Edge]) -> Part {
        let local = |of: usize| boxes.iter().position(|at| *at == of).unwrap_or_default();
        let edges: Vec<Edge> = edges_of_part
            .iter()
            .map(|at| Edge { from: local(edges[*at].from), to: local(edges[*at].to), ..edges[*at] })
            .collect();
        let downwards = without_circles(boxes.len(), &edges);
        let rows = rows(boxes.len(), &downwards);
        let mut nodes: Vec<Node> =
            boxes.iter().zip(&rows).map(|(at, row)| Node { size: sizes[*at], row: *row, x: 0.0 }).collect();
        let chains = chains(&mut nodes, &edges, &downwards);
        let mut order = sorted(&nodes, &chains);
        settle(&mut nodes, &mut order, &chains);

        let mut tops = Vec::new();
        let mut y = 0.0;
        for row in &order {
            let height = row.iter().map(|at| nodes[*at].size.height).fold(0.0, f64::max);
            tops.push((y, y + height));
            y += height + ROW_GAP;
        }
        let corner = |node: &Node| Point { x: node.x - node.size.width / 2.0, y: tops[node.row].0 };
        Part {
            boxes: nodes[..boxes.len()].iter().map(corner).collect(),
            ways: ways(&nodes, &chains, &tops),
            size: Point {
                x: nodes.iter().map(|node| node.x + node.size.width / 2.0).fold(0.0, f64::max),
                y: y - ROW_GAP,
            },
        }
    }
}

/// Each arrow as from and to, turned round where it would close a circle.
fn without_circles(count: usize, edges: &[Edge]) -> Vec<(usize, usize)> {
    /// Visits a box and all below it; what points at a box that is being visited closes a circle.
    fn visit(at: usize, edges: &[Edge], state: &mut [u8], turned: &mut [bool]) {
        state[at] = 1;
        for (number, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.from == at) {
            match state[edge.to] {
                0 => visit(edge.to, edges, state, turned),
                1 => turned[number] = true,
                _ => {}
            }
        }
        state[at] = 2;
    }
    let (mut state, mut turned) = (vec![0_u8; count], vec![false; edges.len()]);
    // Whatever nothing points at comes first, so that arrows are turned inside circles alone.
    let is_source = |at: &usize| !edges.iter().any(|edge| edge.to == *at);
    let sources = (0..count).filter(is_source);
    for at in sources.chain(0..count) {
        if state[at] == 0 {
            visit(at, edges, &mut state, &mut turned);
        }
    }
    let ends = |(edge, turned): (&Edge, &bool)| {
        if *turned { (edge.to, edge.from) } else { (edge.from, edge.to) }
    };
    edges.iter().zip(&turned).map(ends).collect()
}

/// The row of each box: one below the lowest of those that point at it.
fn rows(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![0; count];
    // Without circles, no way is longer than there are boxes.
    for _ in 0..count {
        for (from, to) in edges {
            rows[*to] = rows[*to].max(rows[*from] + 1);
        }
    }
    rows
}

/// Cuts the arrows into pieces, with a passage in each row that an arrow passes.
fn chains(nodes: &mut Vec<Node>, edges: &[Edge], downwards: &[(usize, usize)]) -> Vec<Chain> {
    let mut chains = Vec::new();
    for (edge, (from, to)) in edges.iter().zip(downwards) {
        let mut chain = vec![*from];
        for row in nodes[*from].row + 1..nodes[*to].row {
            chain.push(nodes.len());
            nodes.push(Node { size: Size { width: PASSAGE, height: 0.0 }, row, x: 0.0 });
        }
        chain.push(*to);
        chains.push(Chain { nodes: chain, upwards: edge.from != *from, label: edge.label });
    }
    chains
}

/// The nodes above or below each node.
fn neighbours(count: usize, chains: &[Chain], above: bool) -> Vec<Vec<usize>> {
    let mut neighbours = vec![Vec::new(); count];
    for pair in chains.iter().flat_map(|chain| chain.nodes.windows(2)) {
        let (of, other) = if above { (pair[1], pair[0]) } else { (pair[0], pair[1]) };
        neighbours[of].push(other);
    }
    neighbours
}

/// The nodes of each row, so that few arrows cross: each row is sorted by the mean place of its neighbours, down and up again.
fn sorted(nodes: &[Node], chains: &[Chain]) -> Vec<Vec<usize>> {
    let count = nodes.iter().map(|node| node.row + 1).max().unwrap_or(0);
    let mut order: Vec<Vec<usize>> =
        (0..count).map(|row| (0..nodes.len()).filter(|at| nodes[*at].row == row).collect()).collect();
    let (above, below) = (neighbours(nodes.len(), chains, true), neighbours(nodes.len(), chains, false));
    let (mut best, mut fewest) = (order.clone(), crossings(&order, &below));
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let around = if down { &above } else { &below };
        let rows: Vec<usize> = if down { (1..count).collect() } else { (0..count).rev().skip(1).collect() };
        for row in rows {
            let beside = if down { row - 1 } else { row + 1 };
            let place = |at: usize| order[beside].iter().position(|other| *other == at).unwrap_or_default();
            let mut means: Vec<(f64, usize)> = order[row]
                .iter()
                .enumerate()
                .map(|(own, at)| {
                    let places: Vec<f64> = around[*at].iter().map(|other| count_of(place(*other))).collect();
                    (mean(&places).unwrap_or(count_of(own)), *at)
                })
                .collect();
            means.sort_by(|one, other| one.0.total_cmp(&other.0));
            order[row] = means.into_iter().map(|(_, at)| at).collect();
        }
        let found = crossings(&order, &below);
        if found < fewest {
            (best, fewest) = (order.clone(), found);
        }
    }
    best
}

/// How many pieces of arrows cross.
fn crossings(order: &[Vec<usize>], below: &[Vec<usize>]) -> usize {
    let between = |pair: &[Vec<usize>]| {
        let place = |at: &usize| pair[1].iter().position(|other| other == at);
        let pieces: Vec<(usize, Option<usize>)> = pair[0]
            .iter()
            .enumerate()
            .flat_map(|(own, at)| below[*at].iter().map(move |to| (own, place(to))))
            .collect();
        let crossed = |(at, one): (usize, &(usize, Option<usize>))| {
            pieces[at + 1..].iter().filter(|other| other.0 > one.0 && other.1 < one.1).count()
        };
        pieces.iter().enumerate().map(crossed).sum::<usize>()
    };
    order.windows(2).map(between).sum()
}

/// Moves the nodes of each row towards their neighbours, as far as the others of the row let them.
fn settle(nodes: &mut [Node], order: &mut [Vec<usize>], chains: &[Chain]) {
    for row in order.iter() {
        spread(nodes, row, &vec![0.0; row.len()]);
    }
    let (above, below) = (neighbours(nodes.len(), chains, true), neighbours(nodes.len(), chains, false));
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let around = if down { &above } else { &below };
        let rows: Vec<usize> =
            if down { (0..order.len()).collect() } else { (0..order.len()).rev().collect() };
        for row in rows {
            let wanted: Vec<f64> = order[row]
                .iter()
                .map(|at| {
                    let places: Vec<f64> = around[*at].iter().map(|other| nodes[*other].x).collect();
                    mean(&places).unwrap_or(nodes[*at].x)
                })
                .collect();
            spread(nodes, &order[row], &wanted);
        }
    }
    let left = nodes.iter().map(|node| node.x - node.size.width / 2.0).fold(f64::INFINITY, f64::min);
    nodes.iter_mut().for_each(|node| node.x -= left);
}

/// Gives each node of a row the place nearest to the one it wants, so that none overlap and their order stays: the least squares of
/// an isotonic regression, by pooling neighbours that want to pass each other.
fn spread(nodes: &mut [Node], row: &[usize], wanted: &[f64]) {
    let mut offset = 0.0;
    let mut offsets = Vec::new();
    for (at, before) in row.iter().zip(std::iter::once(None).chain(row.iter().map(Some))) {
        if let Some(before) = before {
            offset += nodes[*before].size.width / 2.0 + GAP + nodes[*at].size.width / 2.0;
        }
        offsets.push(offset);
    }
    // Each pool: the sum of what its nodes want, and how many they are.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wanted, offset) in wanted.iter().zip(&offsets) {
        pools.push((wanted - offset, 1));
        while let [.., (before, of_before), (last, of_last)] = pools[..] {
            if before / count_of(of_before) <= last / count_of(of_last) {
                break;
            }
            pools.truncate(pools.len() - 2);
            pools.push((before + last, of_before + of_last));
        }
    }
    let places = pools.iter().flat_map(|(sum, count)| vec![sum / count_of(*count); *count]);
    for ((at, offset), place) in row.iter().zip(&offsets).zip(places) {
        nodes[*at].x = place + offset;
    }
}

/// The way of each arrow. Where several end at one box, they come in beside each other, with room for what is written on each.
fn ways(nodes: &[Node], chains: &[Chain], tops: &[(f64, f64)]) -> Vec<Vec<Point>> {
    let outlets = ports(nodes, chains, false);
    let inlets = ports(nodes, chains, true);
    let way = |(number, chain): (usize, &Chain)| {
        let (first, last) = (chain.nodes[0], chain.nodes[chain.nodes.len() - 1]);
        let mut way =
            vec![Point { x: outlets[number], y: tops[nodes[first].row].0 + nodes[first].size.height }];
        for at in &chain.nodes[1..chain.nodes.len() - 1] {
            let (top, bottom) = tops[nodes[*at].row];
            way.extend([Point { x: nodes[*at].x, y: top }, Point { x: nodes[*at].x, y: bottom }]);
        }
        way.push(Point { x: inlets[number], y: tops[nodes[last].row].0 });
        if chain.upwards {
            way.reverse();
        }
        way
    };
    chains.iter().enumerate().map(way).collect()
}

/// Where each arrow leaves the box above it, or enters the one below it.
fn ports(nodes: &[Node], chains: &[Chain], entering: bool) -> Vec<f64> {
    let ends = |chain: &Chain| {
        let count = chain.nodes.len();
        if entering {
            (chain.nodes[count - 1], chain.nodes[count - 2])
        } else {
            (chain.nodes[0], chain.nodes[1])
        }
    };
    let mut ports = vec![0.0; chains.len()];
    for (at, node) in nodes.iter().enumerate() {
        let mut here: Vec<(f64, usize)> = chains
            .iter()
            .enumerate()
            .filter(|(_, chain)| ends(chain).0 == at)
            .map(|(number, chain)| (nodes[ends(chain).1].x, number))
            .collect();
        here.sort_by(|one, other| one.0.total_cmp(&other.0));
        // What is written on an arrow stands at its head.
        let room = |number: usize| {
            let headed = chains[number].upwards != entering;
            if headed { label_room(chains[number].label) } else { PASSAGE }
        };
        let mut x = node.x - here.iter().map(|(_, number)| room(*number)).sum::<f64>() / 2.0;
        for (_, number) in here {
            ports[number] = x + room(number) / 2.0;
            x += room(number);
        }
    }
    ports
}

/// What a box has to keep free for an arrow with a label of that width.
pub(super) fn label_room(label: f64) -> f64 {
    (label + 14.0).max(PASSAGE)
}

fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / count_of(values.len())) }
}

/// Numbers of boxes are small: no digit is lost.
fn count_of(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
