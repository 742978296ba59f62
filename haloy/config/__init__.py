"""The files people write: C{haloy.yaml}, C{client.yaml}, C{haloyd.yaml}, C{.env}.

Where things are:

  - From text to mappings: L{reading}, L{document} (with where each key stands),
    L{section} (one mapping, checked); L{excerpt} and L{mistakes} are for messages,
    L{units} are durations and sizes, L{private} files only their owner may read.
  - C{haloy.yaml}: L{load} finds it, L{app_file} is its schema, L{wire} its JSON form,
    L{merge} makes targets of it, L{images} says what an image entry means, L{validate}
    checks a target, L{options} reads its texts, L{diff} compares two;
    L{capabilities} are keys that only some servers know, L{fragments} its JSON for
    many values.
  - Values from elsewhere: L{dotenv} and L{env_files}, L{interpolate}, L{secrets} and
    their L{providers}.
  - C{client.yaml}: L{client_file} reads, L{client_edit} changes it; L{trust} and
    L{unreachable} are about the servers in it.
  - C{haloyd.yaml}: L{daemon_file}, with L{acme_settings} and L{operations}.
  - Written from the classes: L{json_schema}, L{reference}, L{key_help}, L{scaffold}
    (what C{haloy init} writes).
"""
