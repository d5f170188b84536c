use countersign_drill::*;
#[tokio::main]
async fn main() {
    let only = std::env::args().nth(1);
    let parts: Vec<Part<'_>> = attacks::all().filter(|d| only.as_deref().is_none_or(|o| o == d.name)).map(Part::Shipped).collect();
    let mut last = std::time::Instant::now();
    let report = run(&Setting::shipped(), &parts, 7, |n| { eprintln!("{:?} {n}", last.elapsed()); last = std::time::Instant::now(); }).await;
    for d in &report.drills {
        println!("{:26} {:12} {}", d.name, d.verdict.name(), d.verdict.place());
        if only.is_some() { for s in &d.steps { println!("   {:?} {}", s.side, s.text); } println!("{:#?}", d.verdict); }
    }
    println!("{}", report.summary());
}
