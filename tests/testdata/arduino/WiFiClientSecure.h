#pragma once

struct Client {};

struct WiFiClientSecure : Client {
  void setCACert(const char*) {}
};
