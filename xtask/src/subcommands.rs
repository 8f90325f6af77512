//! The macro `subcommands!`, for commands that consist of subcommands.

/// Declares the enum of subcommands, each with its arguments, and `run`, which runs the one that the user chose.
macro_rules! subcommands {
    ($name:ident { $($command:ident($arguments:path)),* $(,)? }) => {
        #[derive(clap::Subcommand)]
        enum $name {
            $($command($arguments)),*
        }

        impl $name {
            fn run(self) -> anyhow::Result<()> {
                match self {
                    $(Self::$command(command) => command.run()),*
                }
            }
        }
    };
}

pub(crate) use subcommands;
