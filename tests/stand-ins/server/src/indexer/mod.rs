pub fn run(_: &[String]) -> ! { todo!() }
