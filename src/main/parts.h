/* The verbs that put the parts together. */
#pragma once

int main_server(int argc, char **argv);
int main_agent(int argc, char **argv);
int main_down(int argc, char **argv);
int main_keys(int argc, char **argv);
