//! What `watch` can be asked for.

use anstream::ColorChoice;
use skbdrop::{Backend, Filter};
use std::time::Duration;

pub(crate) const HELP: &str = "\
watch: a line for each packet that the kernel drops, until Ctrl-C; then a summary

  --backend auto|ebpf|perf|netlink   how to see the drops (default: auto)
  --explain       after the first line of each reason, what it means and what to look at
  --stack         below each line, the kernel's call stack (backend ebpf)
  --json          one JSON object a line; the summary goes to standard error
  --color auto|always|never          auto, the default: on a terminal, unless NO_COLOR is set
  --count N       end after N drops
  --seconds S     end after S seconds
  --filter EXPR   those that the filter holds for: 'reason NO_SOCKET and not port 53'
  --pcap EXPR     those that a tcpdump expression accepts: 'udp and host 192.0.2.1'
  --snaplen N     bytes to take of each packet (default: 128)
  --demo          send a few datagrams to a closed UDP port on 127.0.0.1
";

#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) backend: Backend,
    pub(crate) explain: bool,
    pub(crate) stack: bool,
    pub(crate) json: bool,
    pub(crate) color: ColorChoice,
    pub(crate) count: Option<u64>,
    pub(crate) seconds: Option<Duration>,
    pub(crate) filter: Option<Filter>,
    pub(crate) pcap: Option<Filter>,
    pub(crate) snap_len: Option<usize>,
    pub(crate) demo: bool,
}

pub(crate) fn parse(parser: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("explain") => options.explain = true,
            Long("stack") => options.stack = true,
            Long("json") => options.json = true,
            Long("color") => options.color = parser.value()?.parse_with(color)?,
            Long("count") => options.count = Some(parser.value()?.parse()?),
            Long("seconds") => {
                options.seconds = Some(parser.value()?.parse_with(skbdrop_examples::seconds)?);
            }
            Long("filter") => options.filter = Some(parser.value()?.parse()?),
            Long("pcap") => options.pcap = Some(parser.value()?.parse_with(Filter::pcap)?),
            Long("snaplen") => options.snap_len = Some(parser.value()?.parse()?),
            Long("demo") => options.demo = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if options.json && options.explain {
        return Err("--json has no room for --explain: `reason NAME` explains one".into());
    }
    Ok(Some(options))
}

fn color(text: &str) -> Result<ColorChoice, &'static str> {
    match text {
        "auto" => Ok(ColorChoice::Auto),
        "always" => Ok(ColorChoice::Always),
        "never" => Ok(ColorChoice::Never),
        _ => Err("there are auto, always and never"),
    }
}
