/*
 * The subcommands. Each gets its own name as argv[0] and returns the exit status; all of them are documented in
 * traceshim.1.
 */
#ifndef TRACESHIM_CLI_COMMAND_H
#define TRACESHIM_CLI_COMMAND_H

/* Exit status for wrong usage; `run` and `doctor` have their own, since 1 to 3 and the program's own codes mean other things. */
#define EXIT_USAGE 2
#define EXIT_RUN_OWN 125
#define EXIT_RUN_NOT_EXECUTABLE 126
#define EXIT_RUN_NOT_FOUND 127

/* Only returns on failure: otherwise this process becomes the program. */
int run_command(int argc, char **argv);

int doctor_command(int argc, char **argv);
int status_command(int argc, char **argv);
int agent_exec_command(int argc, char **argv);
int view_command(int argc, char **argv);
int tail_command(int argc, char **argv);

#endif
